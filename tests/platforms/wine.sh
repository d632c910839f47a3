#!/bin/sh
# wine.sh PROGRAM...: runs a Windows program with Wine. Its drive C and its temporary files are in build/platforms/wine.
# wine.sh --init: makes that anew. wine.sh --end: has what Wine keeps running in the background end.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
for wine in /usr/lib/wine/wine64 "$(command -v wine64 || true)" "$(command -v wine || true)"; do
    [ -x "$wine" ] && break
done
[ -x "$wine" ] || { echo "there is no Wine here" >&2; exit 1; }
export WINEPREFIX="${WINEPREFIX:-$here/../../build/platforms/wine}" WINEDEBUG="${WINEDEBUG:--all}"

# Has Wine's server end, and write the registry into its files.
end_server() {
    for server in /usr/lib/wine/wineserver64 "$(command -v wineserver || true)"; do
        [ ! -x "$server" ] || { "$server" -k || true; "$server" -w; return; }
    done
}

# Once the registry came out nearly empty, without PATH for one: what the first server had in its memory never came into its files.
init() {
    mkdir -p "$WINEPREFIX"
    end_server
    rm -rf "$WINEPREFIX"
    mkdir -p "$WINEPREFIX"
    "$wine" wineboot --init
    end_server
    "$wine" cmd /c 'echo %PATH%' | grep -qi system32
}

case $1 in
--init)
    init || init || init
    exit
    ;;
--end)
    end_server
    exit
    ;;
esac
mkdir -p "$WINEPREFIX"
exec "$wine" "$@"
