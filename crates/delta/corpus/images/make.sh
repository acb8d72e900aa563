#!/bin/bash
# Makes the images in this folder: `make.sh FOLDER`. As root, because there is a device in them. mksquashfs 4.5.1 must
# run with the libzstd that this crate links (1.5.7), as LD_LIBRARY_PATH can say; MKFS_EROFS_ZSTD names a mkfs.erofs
# 1.8 with the same; KINDS leaves some images out.
set -eu
out=$(realpath "$1")
tree=$(mktemp -d)
# One file, for images that are to be small: what else a file system has is in the others.
few=$(mktemp -d)
trap 'rm -rf "$tree" "$few"' EXIT
seq 1 9000 >"$few/numbers"
seq 1 3000 >"$tree/numbers"
cp "$tree/numbers" "$tree/the-same-numbers"
mkdir "$tree/many"
for n in $(seq 1 60); do echo "$n is short" >"$tree/many/$n"; done
truncate -s 40000 "$tree/holes"
seq 1 900 | dd of="$tree/holes" bs=1 seek=13000 conv=notrunc status=none
truncate -s 9000 "$tree/nothing"
: >"$tree/empty"
head -c 5000 /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 >"$tree/noise" 2>/dev/null
ln -s numbers "$tree/link"
ln "$tree/numbers" "$tree/another-name"
mkfifo "$tree/pipe"
mknod "$tree/device" b 7 9
mkdir -p "$tree/a/b/c"
squashfs() {
    mksquashfs "$tree" "$1.squashfs" -quiet -no-progress -noappend -processors 1 -b 4096 \
        -mkfs-time 1750000000 -all-root "${@:2}" >/dev/null
}
erofs() {
    "${mkfs:-mkfs.erofs}" --quiet -T1750000000 -U6d2f1c3e-0a5b-4c7d-9e8f-123456789abc --all-root "${@:2}" "$1.erofs" "${from:-$tree}" >/dev/null
}
pack() {
    find "$tree" "$few" -exec touch -h -d @1750000000 {} +
    for kind in ${KINDS:-zstd gzip xz lz4 lz4hc big full padded}; do
        to="$out/$kind-$1"
        case $kind in
        zstd) squashfs "$to" -comp zstd ;;
        gzip) squashfs "$to" -comp gzip -Xcompression-level 7 ;;
        xz) squashfs "$to" -comp xz -Xbcj x86 ;;
        lz4) erofs "$to" -zlz4 ;;
        lz4hc) erofs "$to" -zlz4hc ;;
        big) erofs "$to" -zlz4hc,12 -C16384 ;;
        full) erofs "$to" -zlz4hc -Elegacy-compress ;;
        padded) mkfs=${MKFS_EROFS_ZSTD:-} from=$few erofs "$to" -zzstd,level=9 -C4096 ;;
        esac
    done
}
pack old
sed -i 's/^1500$/one thousand five hundred/' "$tree/numbers" "$few/numbers"
echo "31 has changed" >"$tree/many/31"
seq 5 400 >"$tree/a/b/c/new"
pack new
