"""Small .tflite networks under construction, and LiteRT to run them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from flatbuffers import Builder

Array = npt.NDArray[Any]

TRANSPOSED = "Convolution2DTransposeBias"
TYPES = {"float32": 0, "float16": 1, "int32": 2}


class Net:
    """A .tflite network under construction; tensors are numbers, shapes are found out by LiteRT."""

    def __init__(self, *shape: int) -> None:
        self.rng = np.random.default_rng(0)
        self.buffers: list[Any] = [schema.BufferT()]
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: list[Any] = []
        self.input = self.tensor("float32", shape)

    def tensor(self, dtype: str, shape: tuple[int, ...], **fields: Any) -> int:
        name = f"t{len(self.tensors)}"
        fields = {"buffer": 0, "name": name, **fields}
        self.tensors.append(schema.TensorT(shape=list(shape), type=TYPES[dtype], **fields))
        return len(self.tensors) - 1

    def constant(self, array: Array, shape: tuple[int, ...] = (), sparsity: Any = None) -> int:
        data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self.buffers.append(schema.BufferT(data=data))
        number = len(self.buffers) - 1
        shape = shape or array.shape
        return self.tensor(array.dtype.name, shape, buffer=number, sparsity=sparsity)

    def random(self, *shape: int) -> int:
        return self.constant(self.rng.uniform(-1, 1, shape).astype(np.float32))

    def ints(self, *rows: Any) -> int:
        return self.constant(np.array(rows, np.int32))

    def op(self, kind: str, inputs: list[int], options: Any = None) -> int:
        """Append a builtin operator, or a custom one: `options` are bytes then."""
        number = getattr(schema.BuiltinOperator, kind, schema.BuiltinOperator.CUSTOM)
        code = schema.OperatorCodeT(builtinCode=number, deprecatedBuiltinCode=min(number, 127))
        code.version = 2 if kind == "RESIZE_BILINEAR" else 1
        if number == schema.BuiltinOperator.CUSTOM:
            code.customCode = kind
        self.codes.append(code)
        output = self.tensor("float32", ())
        operator = schema.OperatorT(len(self.codes) - 1, inputs, [output])
        if isinstance(options, bytes):
            operator.customOptions = list(options)
        elif options is not None:
            name = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = options
        self.operators.append(operator)
        return output

    def build(self, *outputs: int) -> bytes:
        data = self._pack(outputs)
        runner = interpreter(data)
        runner.allocate_tensors()
        for details in runner.get_tensor_details():
            if details["index"] < len(self.tensors):
                self.tensors[details["index"]].shape = details["shape"].tolist()
        return self._pack(outputs)

    def build_unchecked(self, *outputs: int) -> bytes:
        """For what LiteRT refuses too, or runs only with the shapes given."""
        return self._pack(outputs)

    def _pack(self, outputs: tuple[int, ...]) -> bytes:
        graph = schema.SubGraphT(self.tensors, [self.input], list(outputs), self.operators)
        model = schema.ModelT(3, self.codes, [graph], buffers=self.buffers)
        builder = Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def interpreter(data: bytes) -> Any:
    """LiteRT's own kernels; only its delegate XNNPACK knows MediaPipe's custom operator."""
    if TRANSPOSED.encode() in data:
        return Interpreter(model_content=data)
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return Interpreter(model_content=data, experimental_op_resolver_type=plain)
