#!/bin/sh
# tree.sh OUT SCRATCH BASE CHANGE [FROM]: a tree as a tar file, always the same from the same input.
#   BASE    a tar file of mmdebstrap
#   CHANGE  what is done to it: none, config, binary PATH, kernel
#   FROM    the tar file that the binary or the kernel is taken from
# Environment: EPOCH (seconds)
set -eu
out=$1 scratch=$2 base=$3 change=$4 from=${5:-}
tree=$scratch/tree more=$scratch/more
mkdir "$tree" "$more"
chmod 755 "$tree"
# What is of one machine or one build.
tar -xpf "$base" -C "$tree" --wildcards --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' \
    --exclude='./run/*' --exclude='./tmp/*' --exclude='./var/cache/*' --exclude='./var/log/*' \
    --exclude='./var/lib/apt/lists/*' --exclude='./etc/ssh/ssh_host*' --exclude='./etc/machine-id'
case $change in
none) ;;
config)
    grep -q 'worker_connections 768;' "$tree/etc/nginx/nginx.conf"
    sed -i 's/worker_connections 768;/worker_connections 1024;/' "$tree/etc/nginx/nginx.conf"
    ;;
binary*)
    path=${change#binary }
    tar -xpf "$from" -C "$more" "./$path"
    if cmp -s "$more/$path" "$tree/$path"; then
        echo "the archive has only one version of $path now" >&2
        exit 3
    fi
    cp "$more/$path" "$tree/$path"
    ;;
kernel)
    tar -xpf "$from" -C "$more" --wildcards --exclude='*/initrd*' './boot/*' './*lib/modules/*'
    mkdir -p "$tree/boot" "$tree/usr/lib/modules"
    cp -a "$more"/boot/. "$tree/boot/"
    for modules in "$more"/lib/modules "$more"/usr/lib/modules; do
        if [ -d "$modules" ]; then cp -a "$modules"/. "$tree/usr/lib/modules/"; fi
    done
    ;;
*)
    echo "no such change: $change" >&2
    exit 2
    ;;
esac
# mke2fs must be able to read files of mode 000, such as gshadow.
chmod -R u+r "$tree"
tar -C "$tree" --format=gnu --sort=name --mtime="@$EPOCH" --numeric-owner -cf "$out" .
