#!/bin/sh
# A folder: folder.sh PHOTOS OUT   every JPEG, PNG and WebP becomes OUT/NAME.png
# A photo that fails is named and the rest goes on; ends with 1 if any failed.
set -eu
url=${P2C_URL:-http://localhost:8000}
mkdir -p "$2"
failed=0
for photo in "$1"/*; do
    case $photo in
        *.jpg | *.jpeg | *.png | *.webp | *.JPG | *.JPEG | *.PNG | *.WEBP) ;;
        *) continue ;;
    esac
    name=${photo##*/}
    if problem=$(curl --silent --show-error --fail-with-body --form "photo=@$photo" \
        --output "$2/$name.part" --write-out '%{http_code}' "$url/cartoonize?format=png" 2>&1); then
        mv "$2/$name.part" "$2/${name%.*}.png"
    else
        echo "$photo: $problem" >&2
        rm -f "$2/$name.part"
        failed=1
    fi
done
exit $failed
