"""One evaluation: draw, measure, write a report.

What comes out (docs/evaluation.md says what each figure means):

    OUT/cartoons/...    what the generator drew
    OUT/served/...      what the service made of it, if raw photos were given,
    OUT/aligned/...     beside the same square of the photo
    OUT/report.json     every figure
    OUT/report.html     the same as tables, with the sheet; one file
    OUT/sheet.png       photo beside cartoon, by group; served.png the same as served
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from photo2cartoon_models.evaluation import groups, measures
from photo2cartoon_models.evaluation.colours import (
    MEANINGS,
    FaceColours,
    compare_colours,
    summarise,
)
from photo2cartoon_models.evaluation.feature_network import NAME, FeatureNetwork
from photo2cartoon_models.evaluation.groups import compare_groups, draw_sample
from photo2cartoon_models.evaluation.identity import Identity, IdentityNetwork
from photo2cartoon_models.evaluation.measures import Resampled
from photo2cartoon_models.evaluation.pictures import (
    EvaluationError,
    Image,
    OnnxGenerator,
    Photo,
    Progress,
    Serve,
    draw_all,
    find_drawings,
    find_raw,
    plan,
    read_drawing,
    read_groups,
    serve_all,
)
from photo2cartoon_models.evaluation.report import write_html
from photo2cartoon_models.evaluation.sheet import write_sheet
from photo2cartoon_models.files import write_file

Report = dict[str, Any]

Sets = list[tuple[str, list[Photo], Callable[[Photo], Image]]]  # name, photos, what is seen of each

DRAWN, SERVED = "photos: this model", "photos: as served"
PAIRS, OWN = "pairs: this model", "pairs: their own cartoons"


@dataclass(frozen=True, slots=True)
class Request:
    """What to evaluate.

    Attributes:
        model: an ONNX generator, float32 (N, 3, 256, 256).
        photos: folder of prepared photos, 256 x 256 px.
        cartoons: folder of drawings that the style was not learned from, square.
        out: folder for the results.
        pairs: folder of prepared photos with a cartoon of each to their right, 512 x 256 px.
        groups: CSV that says which photo belongs to which group of people.
        identity: face recognition network, as `IdentityNetwork` takes it.
        raw: folder of the photos that `photos` were prepared from, to be drawn as the service does.
        sample: most photos of each group, drawn by `seed`; None: all.
        seed: of the sample.
    """

    model: Path
    photos: Path
    cartoons: Path
    out: Path
    pairs: Path | None = None
    groups: Path | None = None
    identity: Path | None = None
    raw: Path | None = None
    sample: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Inputs:
    """The same, opened and found to fit."""

    generator: OnnxGenerator
    photos: list[Photo]
    pairs: list[Photo]
    drawings: list[Path]
    network: IdentityNetwork | None
    raw: dict[str, Path]


def evaluate(request: Request, progress: Progress, serve: Serve | None = None) -> Report:
    """Run one evaluation and write its results; returns what is in report.json.

    Args:
        request: what to evaluate.
        progress: told how far it is.
        serve: the service with the same generator, for `request.raw`.

    Raises:
        EvaluationError: a folder or the model is not what it has to be. Sizes and names are looked
            at before the work begins.
        WeightsError: the identity network is not what it has to be.
    """
    inputs = open_inputs(request)
    photos, pairs = inputs.photos, inputs.pairs
    for chosen, what in ((photos, "drawing photos"), (pairs, "drawing pairs")):
        draw_all(inputs.generator, chosen, what, progress)
    served = serve_all(serve, inputs.raw, photos, request.out, progress) if serve else []
    network = FeatureNetwork(progress)
    portraits: Sets = [
        (DRAWN, photos, Photo.read_cartoon),
        (SERVED, served, Photo.read_cartoon),
        ("photos: themselves, gray", photos, lambda photo: measures.to_gray(photo.read_photo())),
        ("photos: themselves, blurred", photos, lambda photo: measures.blur(photo.read_photo())),
    ]
    both: Sets = [(PAIRS, pairs, Photo.read_cartoon), (OWN, pairs, Photo.read_original)]
    seen = _look(inputs.network, portraits + both, progress) if inputs.network else {}
    distances = seen[DRAWN].distances.tolist() if seen else None
    report = {
        "model": {"file": inputs.generator.name, "sha256": inputs.generator.sha256},
        "counts": {
            "photos": len(photos),
            "pairs": len(pairs),
            "drawings": len(inputs.drawings),
            "served": len(served),
        },
        "sample": {"most": request.sample, "seed": request.seed} if request.sample else None,
        "interval": {"percent": 95, "resamples": measures.RESAMPLES, "seed": measures.SEED},
        "kid": {"network": NAME, "rows": _kid_rows(network, inputs, served)},
        "identity": _identity(inputs.network, seen) if inputs.network else None,
        "colours": _colours({"as drawn": photos} | ({"as served": served} if served else {})),
        "pairs": _pair_rows(network, pairs),
        "groups": _groups(portraits, seen),
    }
    sheets = [request.out / "sheet.png"]
    write_sheet(sheets[0], photos, pairs, distances)
    if served:
        sheets.append(request.out / "served.png")
        write_sheet(sheets[1], served, [], None)
    text = json.dumps(report, indent=2)
    write_file(request.out / "report.json", (text + "\n").encode())
    write_html(request.out / "report.html", report, sheets)
    return report


def open_inputs(request: Request) -> Inputs:
    """Look at everything that is asked for, before any of it takes time."""
    folders = [request.photos, request.cartoons, *([request.pairs] if request.pairs else [])]
    for folder in folders:
        if request.out.resolve().is_relative_to(folder.resolve()):
            raise EvaluationError(f"the results must not lie among the pictures of {folder}")
    known = read_groups(request.groups) if request.groups else {}
    drawn = request.out / "cartoons"
    photos = plan(request.photos, drawn / "photos", known)
    if known and not any(photo.group for photo in photos):
        raise EvaluationError(f"{request.groups} gives no photo of {request.photos} a group")
    if request.sample is not None:
        photos = draw_sample(photos, request.sample, request.seed)
    pairs = plan(request.pairs, drawn / "pairs", {}, pairs=True) if request.pairs else []
    drawings = find_drawings(request.cartoons)
    raw = find_raw(request.raw, photos) if request.raw else {}
    network = IdentityNetwork(request.identity) if request.identity else None
    counts = (len(photos), len(drawings), len(pairs))
    for folder, count in zip(folders, counts, strict=False):
        if count < 2:  # distances between sets need two of each
            raise EvaluationError(f"{folder} has one picture: two are needed at least")
    generator = OnnxGenerator(request.model)
    try:
        request.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EvaluationError(f"cannot make {request.out}: {error.strerror}") from error
    return Inputs(generator, photos, pairs, drawings, network, raw)


def _row(what: str, figure: Resampled) -> Report:
    return {"what": what, **asdict(figure.estimate())}


def _kid_rows(network: FeatureNetwork, inputs: Inputs, served: list[Photo]) -> list[Report]:
    """The model's cartoons beside what they were drawn from, which is what they must beat.

    Each twice: in colour, and in lightness alone, as the drawings are then.
    """
    read_all: Sets = [
        ("photos: before", inputs.photos, Photo.read_photo),
        (DRAWN, inputs.photos, Photo.read_cartoon),
        (SERVED, served, Photo.read_small_cartoon),
        ("pairs: before", inputs.pairs, Photo.read_photo),
        (PAIRS, inputs.pairs, Photo.read_cartoon),
        (OWN, inputs.pairs, Photo.read_original),
    ]
    kids: dict[str, list[Resampled]] = {what: [] for what, chosen, _ in read_all if chosen}
    paths = inputs.drawings
    tones: dict[str, Callable[[Image], Image]] = {"": lambda picture: picture}
    tones[", gray"] = measures.to_gray
    for words, tone in tones.items():
        pictures = (tone(read_drawing(path)) for path in paths)
        drawn = network.pool(pictures, len(paths), f"drawings{words}")
        for what, chosen, read in read_all:
            if chosen:
                pictures = (tone(read(photo)) for photo in chosen)
                vectors = network.pool(pictures, len(chosen), f"{what}{words}")
                kids[what].append(measures.kid(vectors, drawn))
    if inputs.pairs:
        ours, own = kids[PAIRS], kids[OWN]
        less = [a - b for a, b in zip(ours, own, strict=True)]
        kids["pairs: this model less their own"] = less
    return [
        {**_row(what, colour), "gray": asdict(gray.estimate())}
        for what, (colour, gray) in kids.items()
    ]


def _look(network: IdentityNetwork, sets: Sets, progress: Progress) -> dict[str, Identity]:
    """Who is seen on the pictures of each set, by its name."""
    seen = {}
    for what, chosen, read in sets:
        if chosen:
            after = (read(photo) for photo in chosen)
            seen[what] = network.compare((photo.read_photo() for photo in chosen), after)
        progress("identity", len(seen), len(sets))
    return seen


def _identity(network: IdentityNetwork, seen: dict[str, Identity]) -> Report:
    means = {what: measures.mean(identity.distances) for what, identity in seen.items()}
    rows = [
        {
            **_row(what, means[what]),
            "strangers": identity.strangers,
            "found": asdict(measures.mean(identity.found).estimate()),
        }
        for what, identity in seen.items()
    ]
    if OWN in means:
        less = _row("pairs: this model less their own", means[PAIRS] - means[OWN])
        rows.append({**less, "strangers": None, "found": None})
    return {"network": {"file": network.name, "sha256": network.sha256}, "rows": rows}


def _colours(sets: dict[str, list[Photo]]) -> Report:
    """How true the colours are, as drawn and as served; by group in the set that comes last."""
    report: Report = {"meanings": MEANINGS, "sets": [], "groups": []}
    for what, photos in sets.items():
        pairs = [(p.group, compare_colours(p.read_photo(), p.read_cartoon())) for p in photos]
        faces = [(group, face) for group, face in pairs if face]
        sides = sorted({photo.read_side() for photo in photos})
        figures = _figures([face for _, face in faces])
        report["sets"].append({"what": what, "sides": sides, "figures": figures})
        report["groups"] = [
            {"group": name, "figures": _figures([face for group, face in faces if group == name])}
            for name in sorted({group for group, _ in faces} - {""})
        ]
    return report


def _figures(faces: list[FaceColours]) -> Report | None:
    if not faces:
        return None
    return {name: asdict(figure.estimate()) for name, figure in summarise(faces).items()}


def _pair_rows(network: FeatureNetwork, pairs: list[Photo]) -> list[Report]:
    """How far this model's cartoons are from those the pairs came with."""
    if not pairs:
        return []
    both = [(pair.read_cartoon(), pair.read_original()) for pair in pairs]
    features = network.distances((a for a, _ in both), (b for _, b in both))
    return [
        _row("pixels", measures.mean(measures.pixel_distance(*pair) for pair in both)),
        _row("pixels, blurred", measures.mean(measures.blurred_distance(*pair) for pair in both)),
        _row("features", measures.mean(features)),
    ]


def _groups(sets: Sets, seen: dict[str, Identity]) -> Report | None:
    """How many photos each group has, and its identity distance in every set of them."""
    names = [photo.group for photo in sets[0][1]]
    counts = [{"group": name, "count": names.count(name)} for name in sorted({*names} - {""})]
    if not counts:
        return None
    compared = [
        {"what": what, **compare_groups([p.group for p in chosen], seen[what].distances.tolist())}
        for what, chosen, _ in sets
        if what in seen
    ]
    return {"counts": counts, "sets": compared, "smallest": groups.SMALLEST}
