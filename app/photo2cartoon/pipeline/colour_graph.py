"""Formulas of `pipeline.colours` and `pipeline.matte` as nodes of an ONNX graph.

Their planes are `(N, 1, S, S)`.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from photo2cartoon.pipeline.colours import SIDE, recolour_planes

# sRGB (IEC 61966-2-1) to XYZ over the white of D65, and CIE 1976 L*a*b*, as OpenCV has them.
TO_XYZ = np.array(
    [
        [0.412453 / 0.950456, 0.357580 / 0.950456, 0.180423 / 0.950456],
        [0.212671, 0.715160, 0.072169],
        [0.019334 / 1.088754, 0.119193 / 1.088754, 0.950227 / 1.088754],
    ]
)
LINEAR_BELOW, CUBIC_ABOVE = 0.04045, 0.008856


class Nodes(Protocol):
    """What collects nodes and the constants that they read (`pipeline.fuse`)."""

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node of one output; returns the output's name."""

    def number(self, value: Any) -> str:
        """A constant."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value in a graph, with the arithmetic of arrays."""

    nodes: Nodes
    name: str

    def _node(self, op: str, left: Any, right: Any) -> "Value":
        names = [
            x.name if isinstance(x, Value) else self.nodes.number(float(x)) for x in (left, right)
        ]
        return Value(self.nodes, self.nodes.add(op, *names))

    def __add__(self, other: Any) -> "Value":
        return self._node("Add", self, other)

    def __sub__(self, other: Any) -> "Value":
        return self._node("Sub", self, other)

    def __rsub__(self, other: Any) -> "Value":
        return self._node("Sub", other, self)

    def __mul__(self, other: Any) -> "Value":
        return self._node("Mul", self, other)

    def __truediv__(self, other: Any) -> "Value":
        return self._node("Div", self, other)

    def __rtruediv__(self, other: Any) -> "Value":
        return self._node("Div", other, self)


class GraphCalculus:
    """As `Calculus`."""

    def __init__(self, nodes: Nodes, size: int, side: int) -> None:
        """For pictures of `size` px, which shrink to `side` px.

        Raises:
            ValueError: `size` is no multiple of `side`.
        """
        if size % side:
            raise ValueError(f"{size} px is no multiple of {side}")
        self.nodes, self.factor = nodes, size // side

    def _add(self, op: str, *inputs: Value | str, **attributes: Any) -> Value:
        names = [x.name if isinstance(x, Value) else x for x in inputs]
        return Value(self.nodes, self.nodes.add(op, *names, **attributes))

    def _where(self, low: Value, limit: float, otherwise: Value, value: Value) -> Value:
        """`low` where `value` is at most `limit`."""
        below = self._add("LessOrEqual", value, self.nodes.number(limit))
        return self._add("Where", below, low, otherwise)

    def _mix(self, matrix: Any, picture: Value) -> Value:
        """A matrix over the three planes: a convolution of one pixel."""
        kernel = np.asarray(matrix, np.float32).reshape(3, 3, 1, 1)
        return self._add("Conv", picture, self.nodes.number(kernel))

    def _split(self, picture: Value, count: int) -> list[Value]:
        number = self.nodes.number
        return [
            self._add("Slice", picture, number([k]), number([k + 1]), number([1]))
            for k in range(count)
        ]

    def to_lab(self, rgb: Value) -> tuple[Value, Value, Value]:
        straight = rgb * (1 / 12.92)
        curved = self.power((rgb + 0.055) * (1 / 1.055), 2.4)
        xyz = self._mix(TO_XYZ, self._where(straight, LINEAR_BELOW, curved, rgb))
        root = self._where(
            xyz * 7.787 + 16 / 116, CUBIC_ABOVE, self.power(self.clip(xyz, 0, 2), 1 / 3), xyz
        )
        x, y, z = self._split(root, 3)
        return y * 1.16 - 0.16, (x - y) * 500, (y - z) * 200

    def to_rgb(self, light: Value, a: Value, b: Value) -> Value:
        y = (light + 0.16) * (1 / 1.16)
        root = self._add("Concat", y + a * (1 / 500), y, y - b * (1 / 200), axis=1)
        low = (root - 16 / 116) * (1 / 7.787)
        xyz = self._where(low, CUBIC_ABOVE ** (1 / 3), root * root * root, root)
        linear = self.clip(self._mix(np.linalg.inv(TO_XYZ), xyz), 0, 1)
        curved = self.power(linear, 1 / 2.4) * 1.055 - 0.055
        return self._where(linear * 12.92, 0.0031308, curved, linear)

    def shrink(self, picture: Value) -> Value:
        if self.factor == 1:
            return picture
        side = [self.factor, self.factor]
        return self._add("AveragePool", picture, kernel_shape=side, strides=side)

    def enlarge(self, plane: Value) -> Value:
        scales = self.nodes.number(np.array([1, 1, self.factor, self.factor], np.float32))
        return self._add("Resize", plane, "", scales, mode="linear")

    def means(self, radius: int, *planes: Value) -> list[Value]:
        together = self._add("Concat", *planes, axis=1)
        around = self.nodes.number([0, 0, radius, radius, 0, 0, radius, radius])
        mirrored = self._add("Pad", together, around, mode="reflect")
        side = [2 * radius + 1, 2 * radius + 1]
        blurred = self._add("AveragePool", mirrored, kernel_shape=side)
        return self._split(blurred, len(planes))

    def dilate(self, radius: int, plane: Value) -> Value:
        side = 2 * radius + 1
        return self._add("MaxPool", plane, kernel_shape=[side, side], pads=[radius] * 4)

    def least(self, left: Value, right: Value) -> Value:
        return self._add("Min", left, right)

    def constant(self, plane: NDArray[np.float32]) -> Value:
        return Value(self.nodes, self.nodes.number(plane[None, None]))

    def clip(self, plane: Value, low: float, high: float) -> Value:
        number = self.nodes.number
        return self._add("Clip", plane, number(float(low)), number(float(high)))

    def power(self, plane: Value, exponent: float) -> Value:
        return self._add("Pow", plane, self.nodes.number(float(exponent)))


def add_recolour(nodes: Nodes, size: int, photo: str, cartoon: str, matte: str) -> str:
    """Add the nodes of `pipeline.colours.recolour` to a graph.

    Args:
        nodes: takes them.
        size: of the pictures, px, a multiple of `SIDE`.
        photo: name of the aligned crop, `(N, 3, S, S)` float32 RGB, 0..1.
        cartoon: name of the drawing, alike.
        matte: name of the matte, `(N, 1, S, S)` float32, 0..1.

    Returns:
        The name of the recoloured picture, `(N, 3, S, S)` float32 RGB, 0..1.

    Raises:
        ValueError: no such size.
    """
    calculus = GraphCalculus(nodes, size, SIDE)
    crop, drawn, alpha = (Value(nodes, name) for name in (photo, cartoon, matte))
    picture: Value = recolour_planes(calculus, crop, drawn, alpha)
    return picture.name
