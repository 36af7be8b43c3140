#!/usr/bin/env bash
# A style of your own: photos and drawings in, an ONNX file that the service takes out.
# usage: own_style.sh PHOTOS DRAWINGS OUT [MINUTES]
set -euo pipefail
photos=$1 drawings=$2 out=$3 minutes=${4:-90}

photo2cartoon prepare-data "$photos" "$out/data" --cartoons "$drawings" --test-cartoons 10
photo2cartoon train --config-file fast_lite --resume auto --max-minutes "$minutes" \
    -o output_dir="$out/run" \
    dataset.train.dataroot_a="$out/data/trainA" dataset.train.dataroot_b="$out/data/trainB" \
    dataset.test.dataroot_a="$out/data/testA" dataset.test.dataroot_b="$out/data/testB"
photo2cartoon convert "$out/run/checkpoints/last.pt" "$out/style.onnx"
echo "P2C_GENERATOR=$out/style.onnx photo2cartoon serve"
