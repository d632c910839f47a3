#!/bin/sh
# wine.sh PROGRAM...: runs a Windows program with Wine. Its drive C and its temporary files are in build/platforms/wine.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
for wine in /usr/lib/wine/wine64 "$(command -v wine64 || true)" "$(command -v wine || true)"; do
    [ -x "$wine" ] && break
done
[ -x "$wine" ] || { echo "there is no Wine here" >&2; exit 1; }
export WINEPREFIX="${WINEPREFIX:-$here/../../build/platforms/wine}" WINEDEBUG="${WINEDEBUG:--all}"
mkdir -p "$WINEPREFIX"
exec "$wine" "$@"
