#!/usr/bin/env bash
# Builds the Dockerfile without a Docker engine, on a base made of Debian's packages, and starts the
# result as the container would be started: as uid 10001, on a read-only root, without any other file.
# Needs root and Debian (or its like) with the packages buildah and debootstrap. Takes some minutes.
#
#   docker/prove.sh [FOLDER]      everything is made below FOLDER (default: a temporary one)
#
# pip's index and certificate are this machine's, given at build time; neither stays in the image.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(readlink -f "${1:-$(mktemp -d)}")
mkdir -p "$work"
suite=bookworm # the Dockerfile's base, python:3.11-slim-bookworm, is made of it
port=18000
tool() { buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }

if [ ! -e "$work/base.tar" ]; then
    mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2> /dev/null |
        sed -nE 's/^(URIs:|deb ).*(https?:[^ ]+).*/\2/p' | head -n 1 || true)
    debootstrap --variant=minbase --include=python3-venv,python3-pip "$suite" "$work/base" "$mirror" > "$work/debootstrap.log"
    ln -s python3 "$work/base/usr/bin/python" # what the official image calls it
    rm -rf "$work"/base/var/cache/apt/* "$work"/base/var/lib/apt/lists/*
    tar -C "$work/base" -cf "$work/base.tar" .
fi
base=$(tool from scratch)
tool add --quiet "$base" "$work/base.tar" /
tool commit --quiet "$base" localhost/base

cert=$(python3 -m pip config get global.cert 2> /dev/null || echo /etc/ssl/certs/ca-certificates.crt)
index=$(python3 -m pip config get global.index-url 2> /dev/null || true)
tool build --isolation chroot --format docker --pull-never --layers=false \
    --build-arg BASE=localhost/base ${index:+--build-arg PIP_INDEX_URL="$index"} \
    --build-arg PIP_CERT=/run/cert.pem --volume "$cert:/run/cert.pem:ro" \
    --tag localhost/photo2cartoon .

container=$(tool from --pull-never localhost/photo2cartoon)
root=$(tool mount "$container")
if [ -n "$index" ] && grep -rqF "$index" "$root/opt" "$root/srv" "$root/etc"; then
    echo "the index is in the image" && exit 1
fi
tool inspect --type image localhost/photo2cartoon | python3 -c '
import json, shlex, sys
config = json.load(sys.stdin)["OCIv1"]["config"]
assert config["User"] == "10001:10001", config
print("environment=(" + shlex.join(config["Env"]) + ")")
print("folder=" + shlex.quote(config["WorkingDir"]))
print("command=(" + shlex.join(config["Entrypoint"] + config["Cmd"]) + ")")' > "$work/config.sh"
# shellcheck source=/dev/null
. "$work/config.sh"
packages=$(echo "$root"/opt/venv/lib/python*/site-packages)
for part in "$work/base" "$root/opt/venv" "$packages/photo2cartoon" "$packages/photo2cartoon_models" "$root"; do
    du -sm "$part" # MiB
done

inside() { # as the container's user, on a root that nobody can write to
    unshare --mount --propagation private sh -c '
        root=$1; shift
        mount --bind "$root" "$root"
        mount -t proc proc "$root/proc"
        mount -o remount,bind,ro "$root"
        exec unshare --root="$root" --wd="'"$folder"'" --setgid 10001 --setuid 10001 "$@"
    ' - "$root" env -i "${environment[@]}" "$@"
}
if inside sh -c 'echo x > /srv/x || echo x > /tmp/x' 2> /dev/null; then
    echo "the root can be written to" && exit 1
fi
inside env P2C_PORT=$port "${command[@]}" 2> "$work/log" &
server=$!
trap 'kill $(pgrep -P $server) || true; wait $server || true' EXIT
for _ in $(seq 60); do
    curl -sf "http://127.0.0.1:$port/readyz" > "$work/ready.json" && break
    kill -0 $server
    sleep 0.5
done
inside python -c "
import os, photo2cartoon
from importlib.metadata import files
assert os.getuid() == 10001
assert photo2cartoon.__file__.startswith('/opt/venv/'), photo2cartoon.__file__
assert {'LICENSE', 'NOTICE'} <= {file.name for file in files('photo2cartoon')}"
curl -sf -F photo=@examples/photos/astronaut.jpg "http://127.0.0.1:$port/cartoonize" -o "$work/cartoon.png"
file "$work/cartoon.png" 2> /dev/null || head -c 8 "$work/cartoon.png" | grep -q PNG
ps -o uid=,rss=,args= -p "$(pgrep -P $server || echo $server)" || true
echo "the image starts as uid 10001 on a read-only root and answers"
