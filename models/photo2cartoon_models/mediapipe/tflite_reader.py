"""Read a .tflite network: shapes, constants (sparse ones too), operators, all in tflite's layout.

Everything goes through `tflite`, the FlatBuffers accessors of TensorFlow Lite's schema, which is
also the source of the facts here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite

Array = npt.NDArray[Any]
Level = int | tuple[Array, Array]

_DTYPES = {
    tflite.TensorType.FLOAT32: "<f4",
    tflite.TensorType.FLOAT16: "<f2",
    tflite.TensorType.INT32: "<i4",
}
_OPERATORS = {n: name for name, n in vars(tflite.BuiltinOperator).items() if isinstance(n, int)}


class ConversionError(ValueError):
    """The network has something that this converter does not know; the message names it."""


def densify(
    values: Array,
    shape: Sequence[int],
    order: Sequence[int],
    block_map: Sequence[int],
    levels: Sequence[Level],
) -> Array:
    """Expand a sparse constant as tflite's `SparsityParameters` describe it.

    Args:
        values: the stored values, 1-D, in traversal order.
        shape: of the dense result, rank R.
        order: the dimension that each level walks; R + k stands for the inside of block k.
        block_map: the dimension that block k divides.
        levels: one per entry of `order`: the size of a dense level, or (segments, indices) of a
            compressed one, both 1-D: parent p owns indices[segments[p]:segments[p + 1]].

    Returns:
        An array of `shape` and of the dtype of `values`, zero where nothing is stored.

    Raises:
        ConversionError: the levels, the values and the shape do not fit one another.
    """
    if len(order) != len(levels):
        raise ConversionError(f"sparse constant: {len(levels)} levels for {len(order)} dimensions")
    rank = len(shape)
    coords = np.zeros((len(order), 1), np.int64)  # one column per value met so far
    for dimension, level in zip(order, levels, strict=True):
        if isinstance(level, int):
            count = coords.shape[1]
            coords = np.repeat(coords, level, axis=1)
            coords[dimension] = np.tile(np.arange(level), count)
            continue
        segments, indices = (np.asarray(part, np.int64) for part in level)
        if len(segments) != coords.shape[1] + 1 or segments[-1] != len(indices):
            raise ConversionError("sparse constant: segments do not fit the level above")
        coords = np.repeat(coords, np.diff(segments), axis=1)
        coords[dimension] = indices
    for k, dimension in enumerate(block_map):
        block = levels[list(order).index(rank + k)]
        if not isinstance(block, int):
            raise ConversionError("sparse constant: the inside of a block must be dense")
        coords[dimension] = coords[dimension] * block + coords[rank + k]
    index = coords[:rank]
    if index.shape[1] != len(values) or (index >= np.reshape(shape, (-1, 1))).any():
        raise ConversionError(f"sparse constant: {len(values)} values do not fill {tuple(shape)}")
    dense = np.zeros(shape, values.dtype)
    dense[tuple(index)] = values
    return dense


@dataclass(frozen=True)
class Operator:
    """One tflite operator; `inputs` and `output` are tensor numbers (-1: left out)."""

    name: str
    inputs: list[int]
    output: int
    table: Any

    def options(self, kind: type) -> Any:
        """The operator's builtin options, read as the schema's table `kind`."""
        table = self.table.BuiltinOptions()
        if table is None:
            raise ConversionError(f"{self.name} without options")
        options = kind()
        options.Init(table.Bytes, table.Pos)
        return options


class Source:
    """The tflite side: shapes, constants and operators of the only subgraph."""

    def __init__(self, data: bytes) -> None:
        if data[4:8] != b"TFL3":
            raise ConversionError("not a tflite file: the identifier TFL3 is missing")
        self.model = tflite.Model.GetRootAs(data, 0)
        if self.model.SubgraphsLength() != 1:
            raise ConversionError(f"{self.model.SubgraphsLength()} subgraphs, one expected")
        self.graph = self.model.Subgraphs(0)
        self.inputs = [int(i) for i in self.graph.InputsAsNumpy()]
        self.outputs = [int(i) for i in self.graph.OutputsAsNumpy()]
        self.folded: dict[int, Array] = {}  # constants that an operator made from constants

    def name(self, tensor: int) -> str:
        return str(self.graph.Tensors(tensor).Name().decode())

    def shape(self, tensor: int) -> list[int]:
        """Sizes in tflite's own order: NHWC for an image."""
        t = self.graph.Tensors(tensor)
        return [int(size) for size in t.ShapeAsNumpy()] if t.ShapeLength() else []

    def is_constant(self, tensor: int) -> bool:
        return tensor in self.folded or self._buffer(tensor).DataLength() > 0

    def constant(self, tensor: int) -> Array:
        """The value of a constant tensor in tflite's own layout (float32, float16 or int32)."""
        if tensor in self.folded:
            return self.folded[tensor]
        if not self.is_constant(tensor):
            raise ConversionError(f"tensor {self.name(tensor)} must be a constant")
        t = self.graph.Tensors(tensor)
        if t.Type() not in _DTYPES:
            raise ConversionError(f"tensor {self.name(tensor)} has the unknown type {t.Type()}")
        raw = self._buffer(tensor).DataAsNumpy().tobytes()
        values: Array = np.frombuffer(raw, _DTYPES[t.Type()])
        if t.Sparsity() is not None:
            values = densify(values, self.shape(tensor), *_sparsity(t.Sparsity()))
        return values.reshape(self.shape(tensor))

    def operators(self) -> Iterator[Operator]:
        for k in range(self.graph.OperatorsLength()):
            table = self.graph.Operators(k)
            code = self.model.OperatorCodes(table.OpcodeIndex())
            # Old files hold the number in a deprecated byte, new ones in a wider field.
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            name = _OPERATORS.get(number, f"number {number}")
            if number == tflite.BuiltinOperator.CUSTOM:
                name = code.CustomCode().decode()
            inputs = [int(i) for i in table.InputsAsNumpy()]
            yield Operator(name, inputs, int(table.Outputs(0)), table)

    def _buffer(self, tensor: int) -> Any:
        return self.model.Buffers(self.graph.Tensors(tensor).Buffer())


def _sparsity(table: Any) -> tuple[list[int], list[int], list[Level]]:
    """Traversal order, block map and levels of a `SparsityParameters` table, for `densify`."""
    order = [int(d) for d in table.TraversalOrderAsNumpy()]
    blocks = [int(d) for d in table.BlockMapAsNumpy()] if table.BlockMapLength() else []
    levels: list[Level] = []
    for k in range(table.DimMetadataLength()):
        level = table.DimMetadata(k)
        if level.Format() == tflite.DimensionType.DENSE:
            levels.append(int(level.DenseSize()))
            continue
        segments = _index_vector(level.ArraySegmentsType(), level.ArraySegments())
        levels.append((segments, _index_vector(level.ArrayIndicesType(), level.ArrayIndices())))
    return order, blocks, levels


def _index_vector(kind: int, table: Any) -> Array:
    """Indices of a compressed level; the file picks the narrowest integers that hold them."""
    kinds = tflite.SparseIndexVector
    classes = {
        kinds.Int32Vector: tflite.Int32Vector,
        kinds.Uint16Vector: tflite.Uint16Vector,
        kinds.Uint8Vector: tflite.Uint8Vector,
    }
    vector = classes[kind]()
    vector.Init(table.Bytes, table.Pos)
    return np.asarray(vector.ValuesAsNumpy(), np.int64)
