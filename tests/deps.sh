#!/bin/sh
# deps.sh NAME...: makes sure that what a make target needs is there, installing it from the distribution if it is not.
# deps.sh --has NAME...: only says by its status whether it is.
# Quick and silent when nothing is missing. Names: doctest, asio, liburing, clang, clang-runtime (of its sanitizers, fuzzing and coverage),
# clang-format, clang-tidy, cppcheck, llvm, openssl, libsodium, lmdb-utils, db-util, pkg-config, doxygen, valgrind, file-systems (makers of
# ext4, xfs, btrfs);
# platform-windows, platform-aarch64, platform-s390x, platform-i686: what builds and runs programs for them;
# and for the benchmarks lmdb, rocksdb, leveldb, sqlite, kyotocabinet, tkrzw, wiredtiger.
set -u

has_header() {
    printf '#if !__has_include(<%s>)\n#error missing\n#endif\n' "$1" |
        ${CXX:-c++} ${CPPFLAGS:-} -x c++ -fsyntax-only - 2>/dev/null
}

has_program() {
    command -v "$1" >/dev/null
}

# Comes in a package of its own with some versions.
has_clang_runtime() {
    command -v clang++ >/dev/null && [ -e "$(clang++ -print-file-name=libclang_rt.fuzzer-$(uname -m).a)" ] ||
        [ -e "$(clang++ -print-file-name=libclang_rt.fuzzer.a 2>/dev/null)" ]
}

present() {
    case $1 in
    doctest) has_header doctest/doctest.h ;;
    asio) has_header asio.hpp ;;
    liburing) has_header liburing.h ;;
    openssl) has_header openssl/evp.h ;;
    libsodium) has_header sodium.h ;;
    lmdb) has_header lmdb.h ;;
    rocksdb) has_header rocksdb/db.h ;;
    leveldb) has_header leveldb/db.h ;;
    sqlite) has_header sqlite3.h ;;
    kyotocabinet) has_header kcpolydb.h ;;
    tkrzw) has_header tkrzw_dbm.h ;;
    wiredtiger) has_header wiredtiger.h ;;
    clang) has_program clang++ ;;
    llvm) has_clang_runtime && has_program llvm-cov && has_program llvm-profdata ;;
    clang-format | clang-tidy | cppcheck | doxygen | pkg-config) has_program "$1" ;;
    lmdb-utils) has_program mdb_load && has_program mdb_dump ;;
    db-util) has_program db_load && has_program db_dump ;;
    platform-windows) has_program x86_64-w64-mingw32-g++-posix && { [ -x /usr/lib/wine/wine64 ] || has_program wine64 || has_program wine; } ;;
    platform-i686) has_program i686-linux-gnu-g++ ;;
    platform-*) has_program "${1#platform-}-linux-gnu-g++" && has_program "qemu-${1#platform-}" ;;
    clang-runtime) has_clang_runtime ;;
    valgrind) has_program valgrind && has_header valgrind/helgrind.h ;;
    file-systems) PATH=$PATH:/usr/sbin:/sbin; has_program mkfs.ext4 && has_program mkfs.xfs && has_program mkfs.btrfs ;;
    *) echo "deps.sh: unknown name '$1'" >&2; exit 2 ;;
    esac
}

package_of() {
    case $1 in
    doctest) echo doctest-dev ;;
    asio) echo libasio-dev ;;
    liburing) echo liburing-dev ;;
    openssl) echo libssl-dev ;;
    libsodium) echo libsodium-dev ;;
    file-systems) echo e2fsprogs xfsprogs btrfs-progs ;;
    platform-windows) echo g++-mingw-w64-x86-64-posix wine64 ;;
    platform-i686) echo g++-i686-linux-gnu ;;
    platform-*) echo "g++-${1#platform-}-linux-gnu" qemu-user ;;
    llvm) echo "$(package_of clang-runtime) llvm" ;;
    clang-runtime) echo "clang $(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/libclang-rt-\1-dev/p' | head -n 1)" ;;
    lmdb) echo liblmdb-dev ;;
    rocksdb) echo librocksdb-dev ;;
    leveldb) echo libleveldb-dev ;;
    sqlite) echo libsqlite3-dev ;;
    kyotocabinet) echo libkyotocabinet-dev ;;
    tkrzw) echo libtkrzw-dev ;;
    wiredtiger) echo libwiredtiger-dev ;;
    *) echo "$1" ;;
    esac
}

only_looks=
if [ "${1:-}" = --has ]; then
    only_looks=yes
    shift
fi
packages=
for name; do
    present "$name" || packages="$packages $(package_of "$name")"
done
[ -n "$packages" ] || exit 0
[ -z "$only_looks" ] || exit 1

give_up() {
    echo "Please install$packages with your package manager ($1), then run this again." >&2
    exit 1
}

command -v apt-get >/dev/null || give_up "those are Debian's names; there is no apt-get here"
as_root=
if [ "$(id -u)" != 0 ]; then
    as_root="sudo -n"
    sudo -n true 2>/dev/null || give_up "as root: apt-get install$packages"
fi

install() {
    # Unquoted: words of a command and a list of packages.
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages
}

echo "Installing$packages"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A fresh machine may have no package lists yet, or outdated ones.
if ! install >"$log" 2>&1 && ! { $as_root apt-get update && install; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    give_up "apt-get failed, see above"
fi
for name; do
    present "$name" || give_up "apt-get has installed it, but $name is still not found"
done
