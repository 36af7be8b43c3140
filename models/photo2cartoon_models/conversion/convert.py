"""Turn weights that people have into an ONNX file: `photo2cartoon convert IN OUT.onnx`.

IN is any file that `readers.weights` reads. OUT.onnx has a free batch and one of four forms:

    optimised   float32, the rewrites of `conversion.optimize`; what the service wants on a CPU
    plain       float32, layer by layer
    pixels      optimised, with uint8 RGBA in and uint8 RGB out (`conversion.pixels`)
    half        float16 convolutions, for GPUs (`conversion.half`)

It is written only if it draws what the network draws, as closely as its form allows. OUT.json
beside it is its entry, as `manifest.load_model` reads it: digest, precision, inputs and outputs,
and what is known of its origin, so that none of this has to be guessed.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from photo2cartoon_models.conversion import half, pixels
from photo2cartoon_models.conversion.export import (
    allowed_error,
    errors,
    export_onnx,
    probes,
    run_onnx,
    run_torch,
    serialise_checked,
)
from photo2cartoon_models.conversion.optimize import FastGenerator
from photo2cartoon_models.files import write_together
from photo2cartoon_models.manifest import TensorContract
from photo2cartoon_models.networks.generator import Generator
from photo2cartoon_models.networks.lite import LiteGenerator
from photo2cartoon_models.networks.picture import Picture
from photo2cartoon_models.readers import apart
from photo2cartoon_models.readers.onnx_weights import static_side
from photo2cartoon_models.readers.weights import NET, GeneratorWeights
from photo2cartoon_models.readers.weights_error import WeightsError

Form = Literal["optimised", "plain", "pixels", "half"]
UNKNOWN = "not stated"
NAMES = ("input", "output")
LARGEST_SIDE = 1024  # px, of an ONNX file that is run to be compared
DRAWING_BYTES = 8 * 2**30  # memory for that
NETWORK_VERSION = "1"  # raised when the same weights would give another picture


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the files say about their origin: OUT.json, and the metadata of OUT.onnx."""

    name: str
    source: str = UNKNOWN
    licence: str = UNKNOWN
    style: str = "-"


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was converted, and how far the result is from the network.

    Attributes:
        weights: what was read.
        distance: from the network in float64, on -1..1 (optimised, plain); from torch's float32,
            in grey levels (pixels) or in parts of what is allowed (half).
        own: how far torch's float32 is from the network in float64; None for pixels and half.
        notes: what else is worth knowing, one sentence each.
    """

    weights: GeneratorWeights
    distance: float
    own: float | None
    notes: list[str] = field(default_factory=list)


def convert(
    source: Path,
    target: Path,
    provenance: Provenance,
    *,
    net: str = NET,
    side: int = 256,
    form: Form = "optimised",
    say: Callable[[str], object] = lambda _: None,
) -> Conversion:
    """Convert one file.

    Args:
        source: weights in any known format.
        target: the ONNX file to write; its entry goes beside it, with the suffix .json.
        provenance: what to state about the origin.
        net: which network, if `source` holds several.
        side: side of the pictures, px; fixed in the file.
        form: see the head of this file.
        say: is told what is done next, before each step.

    Raises:
        WeightsError: `source` is refused, the result is too far from it, or a file cannot be
            written. Both files are written, or none.
    """
    say(f"reading {source}")
    weights = apart.read_weights(source, net)
    if not weights.light and side != weights.img_size:
        raise WeightsError(f"the full variant works at {weights.img_size} px only, not {side}")
    reference = Picture(weights.generator()).eval()
    notes = [*weights.notes, *_check_source(source, reference)]
    metadata = _metadata(weights, provenance, form)
    say("exporting the network as ONNX")
    model = _export(weights.generator(), form, side, metadata)
    say("comparing the file with the network")
    content, distance, own = _check(model, reference, side, form)
    entry = _describe_file(content, target.name, provenance, form, side)
    text = json.dumps(entry, indent=2, ensure_ascii=False) + "\n"
    try:
        write_together({target: content, target.with_suffix(".json"): text.encode()})
    except OSError as error:
        raise WeightsError(f"cannot write {target}: {error.strerror}") from error
    return Conversion(weights, distance, own, notes)


def _check(
    model: onnx.ModelProto, reference: Picture, side: int, form: Form
) -> tuple[bytes, float, float | None]:
    """Return the file, its distance from the network, and torch's own; see `Conversion`.

    Raises:
        WeightsError: it is further away than its form allows.
    """
    if form in MEASURES:
        measure, tolerance = MEASURES[form]
        content, distance = serialise_checked(
            model, lambda content: measure(content, reference, side), tolerance
        )
        return content, distance, None
    photos = probes(side)
    (own,) = errors(reference, photos, [run_torch(reference)])

    def error(content: bytes) -> float:
        return errors(reference, photos, [partial(run_onnx, content)])[0]

    content, distance = serialise_checked(model, error, allowed_error(own), own)
    return content, distance, own


MEASURES = {"pixels": (pixels.pixel_distance, pixels.TOLERANCE), "half": (half.half_distance, 1.0)}


def _export(
    generator: Generator | LiteGenerator, form: Form, side: int, metadata: dict[str, str]
) -> onnx.ModelProto:
    names, example = NAMES, torch.zeros(2, 3, side, side)
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


def _metadata(weights: GeneratorWeights, provenance: Provenance, form: Form) -> dict[str, str]:
    return {
        "name": provenance.name,
        "source": provenance.source,
        "licence": provenance.licence,
        "checkpoint_sha256": weights.sha256,
        "checkpoint_format": weights.format,
        "network": _describe(weights),
        "network_version": NETWORK_VERSION,
        "form": form,
        "made_by": _made_by(),
    }


def _made_by() -> str:
    return f"photo2cartoon convert, torch {version('torch')}"


def _describe_file(
    content: bytes, file: str, provenance: Provenance, form: Form, side: int
) -> dict[str, Any]:
    """Return the entry of the ONNX file `content`, with the keys of an entry of the manifest."""
    if form == "pixels":
        (image, cartoon), shape = pixels.NAMES, ("N", side, side)
        meaning = "aligned portrait; alpha is its matte"
        taken = TensorContract(image, "uint8", (*shape, 4), "NHWC", "RGB", (0, 255), meaning)
        given = replace(taken, name=cartoon, shape=(*shape, 3), meaning="cartoon on white")
    else:
        meaning = "aligned portrait on white"
        size = ("N", 3, side, side)
        taken = TensorContract(NAMES[0], "float32", size, "NCHW", "RGB", (-1, 1), meaning)
        given = replace(taken, name=NAMES[1], meaning="cartoon; valid where the matte is 1")
    return {
        "name": provenance.name,
        "role": "generator",
        "style": provenance.style,
        "file": file,
        "precision": "float16" if form == "half" else "float32",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "licence": provenance.licence,
        "source": provenance.source,
        "made_by": _made_by(),
        "inputs": [asdict(taken)],
        "outputs": [asdict(given)],
    }


def _describe(weights: GeneratorWeights) -> str:
    if weights.network == "lite":
        return f"light generator, ngf {weights.ngf}, {weights.n_blocks} blocks"
    variant = "light" if weights.light else f"full at {weights.img_size} px"
    return f"photo2cartoon generator, ngf {weights.ngf}, {variant}"


@torch.no_grad()
def _check_source(source: Path, reference: Picture) -> list[str]:
    """Run a source that is itself ONNX beside the network made of its weights.

    Raises:
        WeightsError: they draw different pictures, so it is another network with the same names.
    """
    _, drawn = apart.call(_draw_source, source, memory_bytes=DRAWING_BYTES)
    if not drawn:
        return []
    picture = drawn["picture"]
    try:
        distance, own = errors(
            reference, [drawn["photo"]], [lambda _: picture, run_torch(reference)]
        )
    except ValueError as error:
        raise WeightsError(f"the ONNX file draws {picture.shape}, no picture") from error
    if not distance <= allowed_error(own):
        raise WeightsError(
            f"the ONNX file draws something else ({distance:.2g} away, torch's float32 is "
            f"{own:.2g}) than this network does with its weights"
        )
    return [f"the network differs from the ONNX file it came from by {distance:.1e}"]


def _draw_source(source: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Run an ONNX file on noise; give `photo` and `picture`, or nothing of another kind of file.

    Raises:
        WeightsError: it does not run, or its pictures are too large.
    """
    content = source.read_bytes()
    side = static_side(content)
    if side is None:
        return {}, {}
    if side > LARGEST_SIDE:
        raise WeightsError(f"the ONNX file takes pictures of {side} px; {LARGEST_SIDE} are enough")
    torch.manual_seed(0)
    photo = (torch.rand(1, 3, side, side) * 2 - 1).numpy()
    try:
        return {}, {"photo": photo, "picture": run_onnx(content, photo)}
    except Exception as error:  # a graph from elsewhere fails in whatever way it likes
        raise WeightsError(f"the ONNX file does not run: {type(error).__name__}") from error


def choose_form(optimize: bool, pixels: bool, half: bool) -> Form:
    """Return the form that the switches of the command ask for.

    Raises:
        WeightsError: they ask for two forms.
    """
    if pixels + half + (not optimize) > 1:
        raise WeightsError("--pixels, --half and --no-optimize exclude each other")
    return "pixels" if pixels else "half" if half else "optimised" if optimize else "plain"


def report(done: Conversion, target: Path) -> str:
    """Describe a conversion for people, one fact in each line."""
    lines = [f"read: {done.weights.format}, sha256 {done.weights.sha256}"]
    lines += [f"note: {note}" for note in done.notes]
    if done.own is None:
        lines.append(f"wrote {target}; it differs from the network by {done.distance:.1e}")
    else:
        lines.append(
            f"wrote {target}; from the network in float64 it is {done.distance:.1e} away, "
            f"torch's float32 {done.own:.1e}"
        )
    lines.append(f"wrote {target.with_suffix('.json')}, its entry")
    return "\n".join(lines)
