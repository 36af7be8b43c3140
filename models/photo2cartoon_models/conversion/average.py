"""Average two generators of one kind: `python -m photo2cartoon_models.conversion.average A B OUT`.

Weights that were fine-tuned from others lie in the same basin: the mean of both networks draws what
lies between their drawings (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv
2109.01903). Fine-tuned for lightness the light network loses hatching, and some ink with it; half
of the way keeps the ink.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from photo2cartoon_models.files import write_file


def average(first: onnx.ModelProto, second: onnx.ModelProto, share: float) -> onnx.ModelProto:
    """Return `first` with `share`, 0..1, of the weights of `second`, name by name.

    Raises:
        ValueError: the two do not have the same weights by name, shape and type.
    """
    others = {one.name: numpy_helper.to_array(one) for one in second.graph.initializer}
    mean = onnx.ModelProto()
    mean.CopyFrom(first)
    if {one.name for one in mean.graph.initializer} != others.keys():
        raise ValueError("the two files do not have the same weights by name")
    for one in mean.graph.initializer:
        own, other = numpy_helper.to_array(one), others[one.name]
        if (own.shape, own.dtype) != (other.shape, other.dtype):
            raise ValueError(f"{one.name}: the two files differ in shape or type")
        if np.issubdtype(own.dtype, np.floating):
            between = (own + share * (other - own)).astype(own.dtype)
            one.CopyFrom(numpy_helper.from_array(between, one.name))
    return mean


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Exit code: 0 written, 2 something given is wrong."""
    parser = argparse.ArgumentParser(prog="python -m photo2cartoon_models.conversion.average")
    parser.add_argument("first", type=Path, metavar="A", help="a generator, ONNX")
    parser.add_argument("second", type=Path, metavar="B", help="another one with the same weights")
    parser.add_argument("out", type=Path, metavar="OUT", help="the file to write")
    parser.add_argument("--share", type=float, default=0.5, help="of B, 0 to 1 (default: 0.5)")
    given = parser.parse_args(arguments)
    try:
        if not 0 <= given.share <= 1:
            raise ValueError(f"--share is 0 to 1, not {given.share}")
        mean = average(onnx.load(given.first), onnx.load(given.second), given.share)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command line
        return 2
    write_file(given.out, mean.SerializeToString(deterministic=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
