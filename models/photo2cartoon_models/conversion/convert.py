"""Turn weights that people have into one ONNX file: `photo2cartoon convert IN OUT.onnx`.

IN is any file that `readers.weights` reads. OUT has a free batch and one of four forms:

    optimised   float32, the rewrites of `conversion.optimize`; what the service wants on a CPU
    plain       float32, layer by layer
    pixels      optimised, with uint8 RGBA in and uint8 RGB out (`conversion.pixels`)
    half        float16 convolutions, for GPUs (`conversion.half`)

It is written only if it draws what the network draws, as closely as its form allows.
"""

import argparse
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import onnx
import torch
from torch import nn

from photo2cartoon_models.conversion import half, pixels
from photo2cartoon_models.conversion.export import (
    TOLERANCE,
    export_onnx,
    parity,
    run_onnx,
    write_checked,
)
from photo2cartoon_models.conversion.optimize import FastGenerator
from photo2cartoon_models.networks.generator import Generator
from photo2cartoon_models.networks.lite import LiteGenerator
from photo2cartoon_models.networks.picture import Picture
from photo2cartoon_models.readers.onnx_weights import static_side
from photo2cartoon_models.readers.weights import NET, Checkpoint, read_checkpoint
from photo2cartoon_models.readers.weights_error import WeightsError

Form = Literal["optimised", "plain", "pixels", "half"]
UNKNOWN = "not stated"
LARGEST_SIDE = 1024  # px, of an ONNX file that is run to be compared
NETWORK_VERSION = "1"  # raised when the same weights would give another picture


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the file says about itself; metadata of the ONNX file."""

    name: str
    source: str = UNKNOWN
    licence: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was converted, and how far the result is from the network.

    `distance` counts on -1..1 (optimised, plain), in grey levels (pixels), or in parts of what is
    allowed (half).
    """

    checkpoint: Checkpoint
    distance: float
    notes: list[str] = field(default_factory=list)


def convert(
    source: Path,
    target: Path,
    provenance: Provenance,
    *,
    net: str = NET,
    side: int = 256,
    form: Form = "optimised",
) -> Conversion:
    """Convert one file.

    Args:
        source: weights in any known format.
        target: the ONNX file to write.
        provenance: goes into the file's metadata.
        net: which network, where `source` holds several.
        side: of the pictures, px; fixed in the file.
        form: see the head of this file.

    Raises:
        WeightsError: `source` is refused, or the result is too far from it. Nothing is written.
    """
    checkpoint = read_checkpoint(source, net)
    if not checkpoint.light and side != checkpoint.img_size:
        raise WeightsError(f"the full variant works at {checkpoint.img_size} px only, not {side}")
    reference = Picture(checkpoint.generator()).eval()
    notes = [*checkpoint.notes, *_check_source(source, reference)]
    metadata = _metadata(checkpoint, provenance, form)
    model = _export(checkpoint.generator(), form, side, metadata)
    measure, tolerance = MEASURES.get(form, (parity, TOLERANCE))
    distance = write_checked(
        model, target, lambda content: measure(content, reference, side), tolerance
    )
    return Conversion(checkpoint, distance, notes)


MEASURES = {"pixels": (pixels.pixel_distance, pixels.TOLERANCE), "half": (half.half_distance, 1.0)}


def _export(
    generator: Generator | LiteGenerator, form: Form, side: int, metadata: dict[str, str]
) -> onnx.ModelProto:
    names, example = ("input", "output"), torch.zeros(2, 3, side, side)
    net: nn.Module
    if form == "half":
        net = Picture(half.halved(generator))
    elif form == "plain" or isinstance(generator, LiteGenerator):  # nothing to rewrite there
        net = Picture(generator)
    else:
        net = FastGenerator(generator)
    if form == "pixels":
        net, names = pixels.PixelGenerator(net), pixels.NAMES
        example = torch.zeros(2, side, side, 4, dtype=torch.uint8)
    return export_onnx(net.eval(), example, names, metadata)


def _metadata(checkpoint: Checkpoint, provenance: Provenance, form: Form) -> dict[str, str]:
    return {
        "name": provenance.name,
        "source": provenance.source,
        "licence": provenance.licence,
        "checkpoint_sha256": checkpoint.sha256,
        "checkpoint_format": checkpoint.format,
        "network": _describe(checkpoint),
        "network_version": NETWORK_VERSION,
        "form": form,
        "made_by": f"python -m photo2cartoon_models.conversion.convert, torch {version('torch')}",
    }


def _describe(checkpoint: Checkpoint) -> str:
    if checkpoint.network == "lite":
        return f"light generator, ngf {checkpoint.ngf}, {checkpoint.n_blocks} blocks"
    variant = "light" if checkpoint.light else f"full at {checkpoint.img_size} px"
    return f"photo2cartoon generator, ngf {checkpoint.ngf}, {variant}"


@torch.no_grad()
def _check_source(source: Path, reference: Picture) -> list[str]:
    """Run a source that is itself ONNX beside the network made of its weights.

    Raises:
        WeightsError: they draw different pictures, so it is another network with the same names.
    """
    content = source.read_bytes()
    side = static_side(content)
    if side is None:
        return []
    if side > LARGEST_SIDE:
        raise WeightsError(f"the ONNX file takes pictures of {side} px; {LARGEST_SIDE} are enough")
    torch.manual_seed(0)
    photo = torch.rand(1, 3, side, side) * 2 - 1
    try:
        drawn = run_onnx(content, photo.numpy())
        distance = float(abs(drawn - reference(photo).numpy()).max())
    except Exception as error:  # a graph from elsewhere fails in whatever way it likes
        raise WeightsError(f"the ONNX file does not run: {type(error).__name__}") from error
    if not distance <= TOLERANCE:
        raise WeightsError(
            f"the ONNX file draws something else ({distance:.2g} away) than this network does "
            "with its weights"
        )
    return [f"the network differs from the ONNX file it came from by {distance:.1e}"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; exit code 0 converted, 2 refused."""
    parser = argparse.ArgumentParser(
        prog="python -m photo2cartoon_models.conversion.convert",
        description="Turn photo2cartoon weights into an ONNX file.",
    )
    parser.add_argument("source", type=Path, metavar="IN", help=".pt, .onnx or .pdparams")
    parser.add_argument("target", type=Path, metavar="OUT.onnx")
    parser.add_argument(
        "--net", default=NET, help="which of several networks (default: %(default)s)"
    )
    parser.add_argument("--size", type=int, default=256, help="px (default: %(default)s)")
    parser.add_argument(
        "--optimize",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="rewrite the network for speed (default: yes)",
    )
    parser.add_argument("--pixels", action="store_true", help="uint8 RGBA in, uint8 RGB out")
    parser.add_argument("--half", action="store_true", help="float16 convolutions, for GPUs")
    parser.add_argument("--name", default="", help="metadata (default: name of OUT)")
    parser.add_argument("--source-text", default=UNKNOWN, metavar="TEXT", help="metadata")
    parser.add_argument("--licence", default=UNKNOWN, help="metadata")
    options = parser.parse_args(arguments)
    name = options.name or options.target.stem
    provenance = Provenance(name, options.source_text, options.licence)
    try:
        done = convert(
            options.source,
            options.target,
            provenance,
            net=options.net,
            side=options.size,
            form=choose_form(options.optimize, options.pixels, options.half),
        )
    except WeightsError as error:
        print(f"{options.source}: {error}", file=sys.stderr)  # noqa: T201 - a command line
        return 2
    print(report(done, options.target))  # noqa: T201
    return 0


def choose_form(optimize: bool, pixels: bool, half: bool) -> Form:
    """The form that the switches of a command line ask for.

    Raises:
        WeightsError: they ask for two.
    """
    if pixels + half + (not optimize) > 1:
        raise WeightsError("--pixels, --half and --no-optimize exclude each other")
    return "pixels" if pixels else "half" if half else "optimised" if optimize else "plain"


def report(done: Conversion, target: Path) -> str:
    """One line per fact about a conversion, for people."""
    lines = [f"read: {done.checkpoint.format}, sha256 {done.checkpoint.sha256}"]
    lines += [f"note: {note}" for note in done.notes]
    lines.append(f"wrote {target}; it differs from the network by {done.distance:.1e}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
