#!/bin/sh
# One photo: one.sh PHOTO OUT.png   (P2C_URL: the service, default http://localhost:8000)
# On failure it prints the service's problem document and ends with 22.
set -eu
exec curl --silent --show-error --fail-with-body \
    --form "photo=@$1" --output "$2" --write-out '%{stderr}%{http_code} %{content_type}\n' \
    "${P2C_URL:-http://localhost:8000}/cartoonize?format=png"
