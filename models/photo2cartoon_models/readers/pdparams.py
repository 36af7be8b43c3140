"""Read Paddle's weight files (.pdparams) without running what may be hidden in them.

Such a file is a pickle, and loading a pickle runs whatever functions it names. Arrays need very
few names; everything else is refused before it is looked up. What Paddle writes (protocol 2 and 4)
was found by experiment with paddlepaddle 3.3.1.
"""

import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photo2cartoon_models.readers.weights_error import WeightsError

NAMES_TABLE = "StructuredToParameterName@@"  # beside the arrays of a flat file: name -> inner name
NUMBER = re.compile(r"[fiub][1248]")
SPLIT_TABLE = "UnpackBigParamInfor@@"  # arrays over 1 GiB, cut in pieces (protocol 2 and 3)


class _ArrayType:
    """Stands for `numpy.ndarray`, which a file names only to have `_new_array` called with it."""


class _Dtype:
    """Stands for a `numpy.dtype` of plain numbers; numpy's own believes any state it is given.

    Attributes:
        dtype: the real one, once the file has told the order of its bytes.
    """

    def __init__(self, code: str, *_flags: bool) -> None:
        if not isinstance(code, str) or not NUMBER.fullmatch(code):
            raise WeightsError(f"the file holds an array of {code!r}, not of numbers")
        self._code = code
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take the order of bytes from numpy's state, whose other members must be the usual."""
        _version, order, *others = state
        if order not in ("<", ">", "|") or tuple(others) != (None, None, None, -1, -1, 0):
            raise WeightsError("the file holds an array of unusual numbers")
        self.dtype = np.dtype(order + self._code)


class _Array:
    """Stands for an array until all of the file is read.

    Attributes:
        array: the real one, once the file has told its content.
    """

    array: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Make the array of numpy's state: version, shape, dtype, order of axes, content."""
        _version, shape, dtype, columns_first, content = state
        if isinstance(content, str):  # protocol 0 and 1
            content = content.encode("latin1")
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise WeightsError("the file holds an array without numbers")
        flat = np.frombuffer(bytearray(content), dtype.dtype)
        self.array = flat.reshape(shape, order="F" if columns_first else "C")


def _new_array(kind: type, _shape: tuple[int, ...], _dtype: bytes) -> _Array:
    """Begin an array, which the state that follows in the file completes."""
    if kind is not _ArrayType:
        raise WeightsError("the file builds something else than arrays")
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    """Protocol 2 has no bytes: it writes them as text and asks for latin1."""
    if encoding != "latin1":
        raise WeightsError(f"the file asks for the codec {encoding!r}")
    return text.encode("latin1")


ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _ArrayType,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _new_array,
    ("numpy._core.multiarray", "_reconstruct"): _new_array,  # numpy 2
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "tuple"): tuple,
    ("__builtin__", "tuple"): tuple,  # what protocol 2 calls it
}


class _Unpickler(pickle.Unpickler):
    """Knows the names in ALLOWED, by stand-ins where the real thing can do more than is needed."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return ALLOWED[module_name, global_name]
        except KeyError:
            raise WeightsError(
                f"refused: the file wants to run {module_name}.{global_name}, "
                "which weights do not need. Nothing of it was run"
            ) from None


def read_pdparams(content: bytes) -> dict[str, Any]:
    """Return the dictionary in a .pdparams file: names to arrays, or nets to such dictionaries.

    Paddle's table of inner names is dropped, and (inner name, array) pairs become the array.

    Raises:
        WeightsError: not such a file, or it names anything that arrays do not need.
    """
    try:
        content_dict = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle may raise nearly anything
        raise WeightsError(f"not a readable pickle: {type(error).__name__}: {error}") from error
    if not isinstance(content_dict, dict):
        raise WeightsError(f"the file holds a {type(content_dict).__name__}, not a dictionary")
    return _without_tables(content_dict)


def _without_tables(entries: dict[Any, Any]) -> dict[str, Any]:
    if SPLIT_TABLE in entries:
        raise WeightsError("arrays cut in pieces (over 1 GiB) are not supported")
    result = {}
    for name, value in dict.items(entries):  # the file may have given its own `items`
        if name == NAMES_TABLE:
            continue
        if isinstance(value, tuple) and len(value) == 2:
            value = value[1]
        result[str(name)] = _plain(value)
    return result


def _plain(value: Any) -> Any:
    """Return what a file's value stands for: an array, a dictionary of them, or itself."""
    if isinstance(value, _Array):
        if value.array is None:
            raise WeightsError("the file holds an array without content")
        return value.array
    return _without_tables(value) if isinstance(value, dict) else value
