#!/bin/sh
# Runs inside ONE fakeroot session, whose end costs two seconds: layers in, an ext4 image out.
#
# pack.sh OUT SCRATCH BASE EXCLUDES DIRECTORY…
#   OUT        the image to make
#   SCRATCH    an existing directory for the tree
#   BASE       a tar file that is unpacked first, or empty
#   EXCLUDES   a file with tar patterns of what is left out of BASE
#   DIRECTORY  laid over the tree in this order; these files come to belong to root
# Environment: EPOCH (seconds), FS_UUID, FS_HASH_SEED, SIZE_STEP (bytes), MARGIN (bytes)
set -eu
out=$1 scratch=$2 base=$3 excludes=$4
shift 4
tree=$scratch/tree
mkdir "$tree"
chmod 755 "$tree"
chown 0:0 "$tree"

if [ -n "$base" ]; then
    tar --wildcards --exclude-from="$excludes" -xpf "$base" -C "$tree"
    # mke2fs must be able to read files of mode 000, such as gshadow.
    chmod -R u+r "$tree"
fi
for layer; do
    tar -C "$layer" --owner=0 --group=0 -cf "$scratch/layer.tar" .
    tar --no-overwrite-dir --keep-directory-symlink -xpf "$scratch/layer.tar" -C "$tree"
done
find "$tree" -exec touch --no-dereference --date="@$EPOCH" {} +

# As large as needed: whole blocks of all files, inodes (those ext4 reserves and a few to spare),
# 1/64 for extent blocks and bitmaps, and the margin.
set -- "$(find "$tree" -printf '%y %s\n' | awk -v step="$SIZE_STEP" -v margin="$MARGIN" '
    { files++; blocks += $1 == "d" ? 1 : int(($2 + 4095) / 4096) }
    END {
        inodes = files + int(files / 16) + 64
        bytes = blocks * 4096 + int(blocks * 64) + inodes * 256 + margin
        printf "%d %.0f", inodes, int((bytes + step - 1) / step) * step
    }')"
truncate -s "${1#* }" "$out"
# The features named here are not understood by every bootloader that reads slots.
mke2fs -q -F -t ext4 -b 4096 -I 256 -m 0 -N "${1% *}" \
    -O '^has_journal,^resize_inode,^metadata_csum_seed,^orphan_file' \
    -U "$FS_UUID" -E "hash_seed=$FS_HASH_SEED,lazy_itable_init=0" -d "$tree" "$out"

# mke2fs copies the change times, which nobody can set on the host, and the access times, which
# reading a directory has moved to now since touch set them: find above, mke2fs itself.
{
    echo "set_inode_field /lost+found ctime @$EPOCH"
    find "$tree" -printf "set_inode_field \"/%P\" ctime @$EPOCH\nset_inode_field \"/%P\" atime @$EPOCH\n"
} >"$scratch/times"
debugfs -w -f "$scratch/times" "$out"
