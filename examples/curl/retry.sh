#!/bin/sh
# One photo, patiently: retry.sh PHOTO OUT.png
# curl repeats what a full service refuses (503) and waits as long as its Retry-After says.
set -eu
exec curl --silent --show-error --fail --retry 20 --retry-max-time 300 \
    --form "photo=@$1" --output "$2" "${P2C_URL:-http://localhost:8000}/cartoonize?format=png"
