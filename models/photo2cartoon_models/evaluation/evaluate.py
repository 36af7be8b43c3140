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

from photo2cartoon_models.evaluation import measures
from photo2cartoon_models.evaluation.colours import (
    MEANINGS,
    FaceColours,
    compare_colours,
    summarise,
)
from photo2cartoon_models.evaluation.feature_network import NAME, FeatureNetwork
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

SMALLEST_GROUP = 10  # photos; the mean of fewer is an anecdote


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
    """

    model: Path
    photos: Path
    cartoons: Path
    out: Path
    pairs: Path | None = None
    groups: Path | None = None
    identity: Path | None = None
    raw: Path | None = None


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
    seen = _look(inputs.network, photos, pairs, served, progress) if inputs.network else {}
    distances = seen["photos"].distances.tolist() if seen else None
    report = {
        "model": {"file": inputs.generator.name, "sha256": inputs.generator.sha256},
        "counts": {
            "photos": len(photos),
            "pairs": len(pairs),
            "drawings": len(inputs.drawings),
            "served": len(served),
        },
        "interval": {"percent": 95, "resamples": measures.RESAMPLES, "seed": measures.SEED},
        "kid": {"network": NAME, "rows": _kid_rows(network, inputs, served)},
        "identity": _identity(inputs.network, seen) if inputs.network else None,
        "colours": _colours({"as drawn": photos} | ({"as served": served} if served else {})),
        "pairs": _pair_rows(network, pairs),
        "groups": _groups(photos, distances),
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
    groups = read_groups(request.groups) if request.groups else {}
    drawn = request.out / "cartoons"
    photos = plan(request.photos, drawn / "photos", groups)
    if groups and not any(photo.group for photo in photos):
        raise EvaluationError(f"{request.groups} gives no photo of {request.photos} a group")
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
    """The model's cartoons beside what they were drawn from, which is what they must beat."""
    paths, photos, pairs = inputs.drawings, inputs.photos, inputs.pairs
    drawn = network.pool((read_drawing(path) for path in paths), len(paths), "drawings")

    def kid(what: str, chosen: list[Photo], read: Callable[[Photo], Image]) -> Resampled:
        pictures = (read(photo) for photo in chosen)
        return measures.kid(network.pool(pictures, len(chosen), what), drawn)

    rows = [
        _row("photos: before", kid("photos", photos, Photo.read_photo)),
        _row("photos: this model", kid("their cartoons", photos, Photo.read_cartoon)),
    ]
    if served:
        by_service = kid("served cartoons", served, Photo.read_small_cartoon)
        rows.append(_row("photos: as served", by_service))
    if pairs:
        ours = kid("pairs' cartoons", pairs, Photo.read_cartoon)
        own = kid("pairs' own cartoons", pairs, Photo.read_original)
        rows += [
            _row("pairs: before", kid("pairs' photos", pairs, Photo.read_photo)),
            _row("pairs: this model", ours),
            _row("pairs: their own cartoons", own),
            _row("pairs: this model less their own", ours - own),
        ]
    return rows


def _look(
    network: IdentityNetwork,
    photos: list[Photo],
    pairs: list[Photo],
    served: list[Photo],
    progress: Progress,
) -> dict[str, Identity]:
    """Who is seen on the cartoons of the photos, of the pairs, and on the pairs' own."""
    sets = {"photos": (photos, Photo.read_cartoon), "served": (served, Photo.read_cartoon)}
    sets |= {"pairs": (pairs, Photo.read_cartoon), "own": (pairs, Photo.read_original)}
    sets = {name: (chosen, read) for name, (chosen, read) in sets.items() if chosen}
    seen = {}
    for name, (chosen, read) in sets.items():
        after = (read(photo) for photo in chosen)
        seen[name] = network.compare((photo.read_photo() for photo in chosen), after)
        progress("identity", len(seen), len(sets))
    return seen


def _identity(network: IdentityNetwork, seen: dict[str, Identity]) -> Report:
    words = {"photos": "photos: this model", "pairs": "pairs: this model"}
    words["served"] = "photos: as served"
    words["own"] = "pairs: their own cartoons"
    rows, means = [], {}
    for name, identity in seen.items():
        means[name] = measures.mean(identity.distances)
        found = asdict(measures.mean(identity.found).estimate())
        strangers = identity.strangers
        rows.append({**_row(words[name], means[name]), "strangers": strangers, "found": found})
    if "own" in means:
        less = _row("pairs: this model less their own", means["pairs"] - means["own"])
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


def _groups(photos: list[Photo], distances: list[float] | None) -> Report | None:
    """Identity distance by group, nearest first, and the furthest group's by the nearest's."""
    names = sorted({photo.group for photo in photos} - {""})
    if not names:
        return None
    members = {name: [i for i, p in enumerate(photos) if p.group == name] for name in names}
    if distances is None:
        return {"rows": [{"group": name, "count": len(members[name])} for name in names]}
    means = {
        name: measures.mean([distances[i] for i in members[name]]).estimate() for name in names
    }
    names.sort(key=lambda name: means[name].value)
    counted = [mean.value for mean in means.values() if mean.count >= SMALLEST_GROUP]
    ratio = max(counted) / min(counted) if len(counted) > 1 and min(counted) > 0 else None
    rows = [{"group": name, **asdict(means[name])} for name in names]
    return {"rows": rows, "ratio": ratio, "smallest": SMALLEST_GROUP}
