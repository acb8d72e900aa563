#!/bin/sh
# image.sh FORMAT OUT SCRATCH TAR BYTES: an image of the tree, always the same on one host.
# Environment: EPOCH (seconds), FS_UUID
set -eu
format=$1 out=$2 scratch=$3 tar=$4 bytes=$5
tree=$scratch/tree
mkdir "$tree"
tar -xpf "$tar" -C "$tree"
find "$tree" -exec touch --no-dereference --date="@$EPOCH" {} +
case $format in
ext4)
    truncate -s "$bytes" "$out"
    E2FSPROGS_FAKE_TIME=$EPOCH mke2fs -q -F -t ext4 -b 4096 -m 0 -O '^has_journal' -U "$FS_UUID" \
        -E "hash_seed=$FS_UUID,lazy_itable_init=0" -d "$tree" "$out"
    # mke2fs copies the change times, which nobody can set on the host, and the access times.
    {
        echo "set_inode_field /lost+found ctime @$EPOCH"
        find "$tree" -printf "set_inode_field \"/%P\" ctime @$EPOCH\nset_inode_field \"/%P\" atime @$EPOCH\n"
    } >"$scratch/times"
    E2FSPROGS_FAKE_TIME=$EPOCH debugfs -w -f "$scratch/times" "$out" >"$scratch/log" 2>&1
    ;;
squashfs)
    SOURCE_DATE_EPOCH=$EPOCH mksquashfs "$tree" "$out" -quiet -no-progress -noappend -comp zstd \
        -Xcompression-level 15 -b 128K -processors 1 -no-exports
    ;;
erofs)
    mkfs.erofs -zlz4hc -C4096 -T"$EPOCH" -U"$FS_UUID" --quiet "$out" "$tree"
    ;;
*)
    echo "no such format: $format" >&2
    exit 2
    ;;
esac
