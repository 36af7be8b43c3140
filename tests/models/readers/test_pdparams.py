"""Paddle's pickles: arrays of numbers are read; what is made to do harm is refused."""

import pickle
import struct
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from photo2cartoon_models.readers.pdparams import read_pdparams
from photo2cartoon_models.readers.weights_error import WeightsError
from tests.places import ROOT

ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("dtype", ["f2", "<f4", ">f4", "f8", "i1", "i2", "i4", ">i8", "u1", "b1"])
def test_arrays_of_numbers_are_read(dtype: str, protocol: int) -> None:
    array = ARRAY.astype(dtype)
    content = {"a": array, "net": {"turned": np.asfortranarray(array)}}
    read = read_pdparams(pickle.dumps(content, protocol))
    for got, expected in ((read["a"], array), (read["net"]["turned"], array)):
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == array.dtype
    read["a"][0] = 1  # the array is the caller's own


def _file(code: str, state: bytes, count: int, raw: bytes) -> bytes:
    """A file with one array, written opcode by opcode: `code` and `state` are of its dtype."""
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R"
    name = b"\x8c" + bytes([len(code)]) + code.encode()
    dtype = b"cnumpy\ndtype\n" + name + b"\x89\x88\x87R" + state
    shape = b"(K\x01J" + struct.pack("<i", count) + b"\x85"
    content = b"\x89B" + struct.pack("<I", len(raw)) + raw
    return b"\x80\x04}\x8c\x01a" + array + shape + dtype + content + b"tbs."


# Version, order, no fields, size 12, alignment 1, and the flag that says: these are references.
REFERENCES = b"(K\x03\x8c\x01|NNNJ" + struct.pack("<iBiBi", 12, 0x4A, 1, 0x4A, 1) + b"tb"
USUAL = b"(K\x03\x8c\x01<NNNJ" + struct.pack("<iBiBi", -1, 0x4A, -1, 0x4A, 0) + b"tb"


@pytest.mark.parametrize(
    ("code", "state", "size"),
    [
        ("f4,O", REFERENCES, 48),
        ("f4", REFERENCES, 48),
        ("f8", USUAL.replace(b"<", b"O"), 32),
        ("O", USUAL, 32),
        ("V8", USUAL, 32),
        ("f4 ", USUAL, 16),
        ("u16", USUAL, 64),
        ("f1", USUAL, 4),
        ("f4", USUAL, 15),
        ("f4", USUAL, 20),
        ("f4", b"", 12),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(code: str, state: bytes, size: int) -> None:
    with pytest.raises(WeightsError):
        read_pdparams(_file(code, state, 4, bytes(size)))
    assert read_pdparams(_file("f4", USUAL, 4, bytes(16)))["a"].tolist() == [0, 0, 0, 0]


def test_a_crafted_dtype_reaches_no_memory() -> None:
    """An address of nothing, read as a reference: it would end the process."""
    raw = (bytes(4) + struct.pack("<Q", 0x4141414141414141)) * 4
    program = (
        "import sys; from photo2cartoon_models.readers.pdparams import read_pdparams\n"
        "read_pdparams(sys.stdin.buffer.read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=_file("f4,O", REFERENCES, 4, raw),
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert b"WeightsError: the file holds an array of 'f4,O'" in done.stderr


@pytest.mark.parametrize(
    "content",
    [
        {"a": np.array([{}], object)},
        {"a": np.zeros(2, [("x", "f4")])},
        {"a": np.zeros(2, "M8[s]")},
        {"a": np.zeros(2, "c8")},
        {"a": print},
        [ARRAY],
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_other_content_is_refused(content: Any, protocol: int) -> None:
    with pytest.raises(WeightsError):
        read_pdparams(pickle.dumps(content, protocol))


def test_a_dictionary_that_brings_its_own_methods_is_only_a_dictionary() -> None:
    build = b"ccollections\nOrderedDict\n)R}\x8c\x05items\x8c\x01xsb."
    assert read_pdparams(b"\x80\x04" + build) == {}
