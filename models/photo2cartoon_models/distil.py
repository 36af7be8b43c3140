"""Distil the comic teacher: `python -m photo2cartoon_models.distil DATA OUT`.

DATA is what `photo2cartoon prepare-data PHOTOS DATA --size 512` wrote. The teacher draws it once
into OUT/pairs, the student learns it, and OUT/comic.onnx is written, which has free sides.
`torchrun --nproc-per-node 2 -m photo2cartoon_models.distil DATA OUT` shares each batch of two.

Exit code: 0 finished, or the time is up; 2 something given is wrong.
"""

import argparse
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import torch

from photo2cartoon_models.conversion.export import TOLERANCE, export_onnx, parity, serialise_checked
from photo2cartoon_models.files import write_file
from photo2cartoon_models.networks.comic import STRIDE
from photo2cartoon_models.readers.weights_error import WeightsError
from photo2cartoon_models.training.checkpoint import ResumeError
from photo2cartoon_models.training.data import DataError
from photo2cartoon_models.training.distil import (
    LAST,
    Plan,
    Student,
    load_student,
    measure,
    run,
)
from photo2cartoon_models.training.pairs import SIZES, draw_pairs
from photo2cartoon_models.training.processes import joined, meet, place


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    try:
        with joined():
            _run(options)
    except (DataError, ResumeError, WeightsError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command line
        return 2
    return 0


def _run(options: argparse.Namespace) -> None:
    out: Path = options.out
    pairs, last = out / "pairs", out / LAST
    student = _student(options, last)
    first = place()[0] == 0
    if first:
        drawn = draw_pairs(options.data, pairs, limit=options.photos, jobs=options.jobs)
        _say(f"{sum(1 for _ in drawn)} photos in {pairs}")
    meet()
    run(student, pairs, out, _say, max_minutes=options.max_minutes)
    if not first:
        return
    net = student.generator()
    for size in SIZES:
        _say(f"{size} px: {json.dumps(measure(net, pairs, size))}")
    metadata = {"name": "comic", "licence": options.licence, "steps": str(student.step)}
    example = torch.zeros(2, 3, 4 * STRIDE, 5 * STRIDE)
    model = export_onnx(net, example, ("input", "output"), metadata, stride=STRIDE)
    target = out / "comic.onnx"
    content, off = serialise_checked(
        model, lambda content: max(parity(content, net, side) for side in (96, 256)), TOLERANCE
    )
    write_file(target, content)
    _say(f"{target}, {off:.1g} off the network")


def _student(options: argparse.Namespace, last: Path) -> Student:
    if last.exists() and options.resume != "auto":
        raise ResumeError(f"{last}: there is a run already; continue it with --resume auto")
    student = load_student(last) if last.exists() else Student(Plan(seed=options.seed))
    if options.steps:
        student.plan = replace(student.plan, steps=options.steps)
    return student


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m photo2cartoon_models.distil",
        description="Distil the comic teacher into a generator. Needs torch.",
    )
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="what prepare-data --size 512 wrote")
    add("out", type=Path, metavar="OUT", help="folder for pairs, checkpoint and weights")
    add("--resume", choices=("auto",), help="continue the run in OUT, if there is one")
    add("--max-minutes", type=float, default=math.inf, help="of training")
    add("--steps", type=int, help=f"of the whole run; default: {Plan().steps}")
    add("--photos", type=int, help="train on at most so many photos")
    add("--jobs", type=int, default=2, help="photos drawn at the same time")
    add("--seed", type=int, default=0)
    add("--licence", default="not stated", help="of the weights, for their metadata")
    return parser


if __name__ == "__main__":
    sys.exit(main())
