#!/bin/sh
# qemu.sh ARCHITECTURE[:PAGE_SIZE] PROGRAM...: runs a statically linked Linux program of another processor.
set -eu
architecture=${1%%:*}
page_size=${1#"$architecture"}
shift
# shellcheck disable=SC2086 # no page size, no words
exec "qemu-$architecture" ${page_size:+-p ${page_size#:}} "$@"
