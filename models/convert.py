"""Turn weights that people have into one ONNX file: `python -m models.convert IN OUT.onnx`.

IN is any file that `models.checkpoint` reads. OUT is float32 in and out with a free batch; it is
written only if it draws what the network draws, to `models.export.TOLERANCE`.
"""

import argparse
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch

from models.checkpoint import NET, Checkpoint, read_checkpoint
from models.export import TOLERANCE, Picture, export_onnx, parity, run_onnx, write_checked
from models.onnx_weights import static_side
from models.optimize import FastGenerator
from models.weights_error import WeightsError

UNKNOWN = "not stated"
NETWORK_VERSION = "1"  # raised when the same weights would give another picture


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the file says about itself; metadata of the ONNX file."""

    name: str
    source: str = UNKNOWN
    licence: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was converted, and how far the result is from the network on -1..1."""

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
    optimize: bool = True,
) -> Conversion:
    """Convert one file.

    Args:
        source: weights in any known format.
        target: the ONNX file to write.
        provenance: goes into the file's metadata.
        net: which network, where `source` holds several.
        side: of the pictures, px; fixed in the file.
        optimize: rewrite the network into its faster equal form first.

    Raises:
        WeightsError: `source` is refused, or the result is too far from it. Nothing is written.
    """
    checkpoint = read_checkpoint(source, net)
    if not checkpoint.light and side != checkpoint.img_size:
        raise WeightsError(f"the full variant works at {checkpoint.img_size} px only, not {side}")
    reference = Picture(checkpoint.generator()).eval()
    notes = [*checkpoint.notes, *_check_source(source, reference)]
    fast = FastGenerator(checkpoint.generator()) if optimize else reference
    example = torch.zeros(2, 3, side, side)
    metadata = _metadata(checkpoint, provenance, optimize)
    model = export_onnx(fast.eval(), example, ("input", "output"), metadata)
    distance = write_checked(
        model, target, lambda content: parity(content, reference, side), TOLERANCE
    )
    return Conversion(checkpoint, distance, notes)


def _metadata(checkpoint: Checkpoint, provenance: Provenance, optimize: bool) -> dict[str, str]:
    return {
        "name": provenance.name,
        "source": provenance.source,
        "licence": provenance.licence,
        "checkpoint_sha256": checkpoint.sha256,
        "checkpoint_format": checkpoint.format,
        "network": f"photo2cartoon generator, ngf {checkpoint.ngf}, "
        f"{'light' if checkpoint.light else f'full at {checkpoint.img_size} px'}",
        "network_version": NETWORK_VERSION,
        "form": "optimised" if optimize else "plain",
        "made_by": f"python -m models.convert, torch {version('torch')}",
    }


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
    torch.manual_seed(0)
    photo = torch.rand(1, 3, side, side) * 2 - 1
    distance = float(abs(run_onnx(content, photo.numpy()) - reference(photo).numpy()).max())
    if not distance <= TOLERANCE:
        raise WeightsError(
            f"the ONNX file draws something else ({distance:.2g} away) than this network does "
            "with its weights"
        )
    return [f"the network differs from the ONNX file it came from by {distance:.1e}"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; exit code 0 converted, 2 refused."""
    parser = argparse.ArgumentParser(prog="python -m models.convert", description=convert.__doc__)
    parser.description = "Turn photo2cartoon weights into an ONNX file."
    parser.add_argument("source", type=Path, metavar="IN", help=".pt, .onnx or .pdparams")
    parser.add_argument("target", type=Path, metavar="OUT.onnx")
    parser.add_argument(
        "--net", default=NET, help="which of several networks (default: %(default)s)"
    )
    parser.add_argument("--size", type=int, default=256, help="px (default: %(default)s)")
    parser.add_argument("--plain", action="store_true", help="leave out the rewrites for speed")
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
            optimize=not options.plain,
        )
    except WeightsError as error:
        print(f"{options.source}: {error}", file=sys.stderr)  # noqa: T201 - a command line
        return 2
    print(report(done, options.target))  # noqa: T201
    return 0


def report(done: Conversion, target: Path) -> str:
    """One line per fact about a conversion, for people."""
    lines = [f"read: {done.checkpoint.format}, sha256 {done.checkpoint.sha256}"]
    lines += [f"note: {note}" for note in done.notes]
    lines.append(f"wrote {target}; it differs from the network by {done.distance:.1e} on -1..1")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
