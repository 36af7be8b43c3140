"""Read a .safetensors file: the length of a header, the header in JSON, then raw numbers."""

import json
import math
import struct
from typing import Any, Final

import numpy as np

from photo2cartoon_models.readers.weights_error import WeightsError

START: Final = 8  # bytes of the header's length, little-endian
DTYPES: Final = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}  # BF16: halves of F32


def is_safetensors(content: bytes) -> bool:
    """Tell a file by its beginning: a length within the file, then an object of JSON."""
    length = int.from_bytes(content[:START], "little")
    return content[START : START + 1] == b"{" and START + length <= len(content)


def read_safetensors(content: bytes) -> dict[str, Any]:
    """Return the arrays of a file by name, float16, float32 or float64.

    Raises:
        WeightsError: the file is damaged, or holds other numbers than floats.
    """
    (length,) = struct.unpack_from("<Q", content)
    data = memoryview(content)[START + length :]
    try:
        header = json.loads(content[START : START + length])
        header.pop("__metadata__", None)
        return {name: _read(data, name, entry) for name, entry in header.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"not a readable safetensors file: {error}") from error


def _read(data: memoryview, name: str, entry: dict[str, Any]) -> Any:
    if entry["dtype"] not in DTYPES:
        raise WeightsError(f"{name} is {entry['dtype']}: weights are floating point numbers")
    start, end = entry["data_offsets"]
    numbers = np.frombuffer(data[start:end], DTYPES[entry["dtype"]])
    if end > len(data) or numbers.size != math.prod(entry["shape"]):
        raise ValueError(f"{name} does not have its {entry['shape']} numbers")
    if entry["dtype"] == "BF16":
        numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers.reshape(entry["shape"])
