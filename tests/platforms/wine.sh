#!/bin/sh
# wine.sh PROGRAM...: runs a Windows program with Wine, its temporary files in $TMPDIR. The Wine prefix is in build/.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
for wine in /usr/lib/wine/wine64 "$(command -v wine64 || true)" "$(command -v wine || true)"; do
    [ -x "$wine" ] && break
done
[ -x "$wine" ] || { echo "there is no Wine here" >&2; exit 1; }
export WINEPREFIX="${WINEPREFIX:-$here/../../build/platforms/wine}" WINEDEBUG="${WINEDEBUG:--all}"
# Wine takes these for Windows' TMP and TEMP; the root directory is its drive Z.
WINETMP="Z:$(printf %s "${TMPDIR:-/tmp}" | tr / '\\')"
export WINETMP WINETEMP="$WINETMP"
exec "$wine" "$@"
