#!/bin/sh
# qemu.sh ARCHITECTURE[:PAGE_SIZE] PROGRAM...: runs a statically linked Linux program of another processor.
set -eu
architecture=${1%%:*}
page_size=${1#"$architecture"}
shift
# Within 8 GiB of addresses: QEMU keeps a word on each page, also of the terabyte that emdb would reserve otherwise.
# shellcheck disable=SC2086 # no page size, no words
exec "qemu-$architecture" -R 8G ${page_size:+-p ${page_size#:}} "$@"
