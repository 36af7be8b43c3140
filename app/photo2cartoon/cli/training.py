"""The commands of training: `prepare-data`, `train`, `evaluate` and `convert`.

All but the first need torch and import it when they are called: the rest of the command line works
without it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TaskID

from photo2cartoon.cli.folders import count_words, follow
from photo2cartoon.cli.prepare import Image, Kind, Prepared, Split, plan, prepare
from photo2cartoon.cli.shards import FOLDER, write_shards
from photo2cartoon.cli.terminal import (
    count_up,
    err,
    load_pipeline,
    out,
    read_settings,
    told_in_one_line,
)
from photo2cartoon.ground.errors import Problem
from photo2cartoon.ground.machine import available_cores
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon_models.manifest import Colours, find_generator, load_manifest
from photo2cartoon_models.preprocess import composite

UNKNOWN = "not stated"
HOW_TO_INSTALL = "run `make install-train` in a checkout, or pip install 'photo2cartoon[cpu,train]'"


@contextmanager
def training_packages(command: str) -> Iterator[None]:
    """Exit with 2 and say how to install what `command` needs, if importing it fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        err.print(f"{command} needs {error.name}: {HOW_TO_INSTALL}", markup=False)
        raise typer.Exit(2) from error


def prepare_data(
    photos: Annotated[Path, typer.Argument(help="Folder of photos.", exists=True, file_okay=False)],
    out_folder: Annotated[Path, typer.Argument(metavar="OUT", file_okay=False)],
    cartoons: Annotated[
        Path | None, typer.Option(help="Folder of drawings.", exists=True, file_okay=False)
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Folder of pairs, the photo to the left.", exists=True, file_okay=False),
    ] = None,
    test_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the photos kept for testing.")
    ] = 0.05,
    test_cartoons: Annotated[
        int, typer.Option(min=0, help="How many drawings, the last by name.")
    ] = 0,
    test_pairs: Annotated[int, typer.Option(min=0, help="How many pairs, the last by name.")] = 0,
    holdout: Annotated[
        Path | None, typer.Option(help="File of further names to keep for testing.", exists=True)
    ] = None,
    size: Annotated[int, typer.Option(min=32, help="Side of a photo's square, px.")] = 256,
    shards: Annotated[
        int, typer.Option(min=0, help="Also write all of it as so many WebDataset shards.")
    ] = 0,
    jobs: Annotated[int, typer.Option(min=0, help="Threads; 0: one for each core.")] = 0,
    again: Annotated[
        bool, typer.Option("--again", help="Prepare finished pictures again.")
    ] = False,
) -> None:
    """Turn photos, drawings and pairs into training data; call it again to continue a stopped run.

    Exit code: 0 done (skipped.csv lists what was left out), 2 the call itself is wrong, 130 stopped
    by Ctrl-C.
    """
    folders: dict[Kind, Path] = {"A": photos}
    folders |= {"B": cartoons} if cartoons else {}
    folders |= {"P": pairs} if pairs else {}
    names = holdout.read_text(encoding="utf-8").split("\n") if holdout else []
    kept = frozenset(name.strip() for name in names if name.strip())
    items = plan(folders, out_folder, Split(test_share, test_cartoons, test_pairs, kept))
    if not items:
        raise typer.BadParameter("there is no picture in this folder", param_hint="PHOTOS")
    settings = read_settings()
    pipeline = load_pipeline(settings)
    threads = pipeline.lanes(jobs or settings.threads or available_cores())
    work = prepare(pipeline, items, out_folder, size=size, threads=threads, again=again)
    results: list[Prepared] = []
    try:
        finished = follow(work, "pictures", len(items), results.append)
    finally:
        words = count_words((r.status for r in results), ("done", "there", "skipped"))
        out.print(f"{words}; {out_folder}", markup=False)
    if not finished:
        raise typer.Exit(130)
    if shards:
        paths = write_shards(out_folder, shards)
        out.print(f"{len(paths)} shards; {out_folder / FOLDER}", markup=False)


def train(context: typer.Context) -> None:
    """Train a generator of your own; `train --help` lists its options. Needs torch."""
    with training_packages("train"):
        from photo2cartoon_models.train import main as run_training  # noqa: PLC0415
    raise typer.Exit(run_training(context.args))


def evaluate(
    model: Annotated[Path, typer.Argument(help="A generator: its name, or an ONNX file.")],
    photos: Annotated[Path, typer.Argument(help="Folder of prepared photos, 256 px.")],
    cartoons: Annotated[Path, typer.Option(help="Folder of held-out drawings.")],
    output: Annotated[Path, typer.Option("--out", help="Folder for the report.")],
    pairs: Annotated[
        Path | None,
        typer.Option(help="Folder of prepared photos, each with a cartoon to its right."),
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="CSV file: which photo belongs to which group of people.")
    ] = None,
    identity: Annotated[
        Path | None,
        typer.Option(help="Identity network: .onnx, .tflite, or npm's .tgz."),
    ] = None,
    raw: Annotated[
        Path | None,
        typer.Option(help="Folder of the photos as taken; they are drawn as the service does."),
    ] = None,
    colours: Annotated[
        Colours | None, typer.Option(help="Of --raw: photo or drawn. [the generator's own]")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=2, help="At most so many photos of each group. [all]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of --sample: another draw.")] = 0,
) -> None:
    """Measure a generator: style, colours and likeness, by group of people. Needs torch.

    Exit code: 0 measured, 2 an input is not what it has to be, or torch is missing.
    """
    with training_packages("evaluate"):
        from photo2cartoon_models.evaluation import evaluate as evaluation  # noqa: PLC0415
        from photo2cartoon_models.evaluation.pictures import EvaluationError  # noqa: PLC0415
        from photo2cartoon_models.readers.weights_error import WeightsError  # noqa: PLC0415
    with told_in_one_line():
        file = find_generator(load_manifest(), model).path
    request = evaluation.Request(
        file, photos, cartoons, output, pairs, groups, identity, raw, sample, seed
    )
    settings = read_settings().model_copy(update={"generator": model, "styles": ()})
    serve = partial(draw_aligned, load_pipeline(settings), colours) if raw else None
    try:
        with count_up() as bar:
            tasks: dict[str, TaskID] = {}

            def progress(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(what, total=total)
                bar.update(tasks[what], completed=done)

            evaluation.evaluate(request, progress, serve)
    except (EvaluationError, WeightsError) as error:
        err.print(str(error), markup=False)
        raise typer.Exit(2) from error
    out.print(str(output / "report.html"), markup=False)


def draw_aligned(
    pipeline: Pipeline, colours: Colours | None, photo: bytes
) -> tuple[Image, Image] | None:
    """Draw the largest face of a photo as the service does, short of framing close-ups.

    Returns:
        The aligned square of the photo and its cartoon, both `(S, S, 3)` uint8 RGB on white; None
        where there is no face to draw.
    """
    options, ticket = pipeline.styles.settle(Options(colours=colours)), Ticket()
    try:
        image, (cut,) = pipeline.cropper.crop(photo, options, ticket)
        (drawing,) = pipeline.draw_faces(image, [cut], options, ticket)
    except Problem:
        return None
    seen = composite(cut.crop.pixels, drawing.matte)
    return seen, composite(drawing.cartoon, drawing.matte)


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Weights: .pt, .onnx or .pdparams.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.onnx")],
    net: Annotated[str, typer.Option(help="The network to take, of several.")] = "genA2B",
    size: Annotated[int, typer.Option(help="Side of the pictures, px.")] = 256,
    optimize: Annotated[bool, typer.Option(help="Rewrite the network for speed.")] = True,
    pixels: Annotated[bool, typer.Option("--pixels", help="uint8 RGBA in, uint8 RGB out.")] = False,
    half: Annotated[bool, typer.Option("--half", help="float16 convolutions, for GPUs.")] = False,
    name: Annotated[str, typer.Option(help="Name to state. [stem of OUT.onnx]")] = "",
    origin: Annotated[str, typer.Option(help="Origin of the weights to state.")] = UNKNOWN,
    licence: Annotated[str, typer.Option(help="Licence to state.")] = UNKNOWN,
    style: Annotated[str, typer.Option(help="Style to state.")] = "-",
) -> None:
    """Turn weights that you have into OUT.onnx, and its entry OUT.json beside it. Needs torch.

    Exit code: 0 converted, 2 refused or torch is missing.
    """
    with training_packages("convert"):
        from photo2cartoon_models.conversion import convert as conversion  # noqa: PLC0415
        from photo2cartoon_models.readers.weights_error import WeightsError  # noqa: PLC0415
    provenance = conversion.Provenance(name or target.stem, origin, licence, style)
    try:
        form = conversion.choose_form(optimize, pixels, half)
        with err.status(f"reading {source}") as status:
            done = conversion.convert(
                source, target, provenance, net=net, side=size, form=form, say=status.update
            )
    except WeightsError as error:
        err.print(f"{source}: {error}", markup=False)
        raise typer.Exit(2) from error
    out.print(conversion.report(done, target), markup=False)
