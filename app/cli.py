"""The command line: `photo2cartoon serve`, `run`, `bulk`, `prepare-data`, `train` and more."""

import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from app.bulk import (
    Outcome,
    Shard,
    find_photos,
    plan_targets,
    run_bulk,
    write_pictures,
    write_report,
)
from app.encode import FORMATS_BY_SUFFIX, SUFFIXES, OutputFormat
from app.errors import InvalidOption, Problem
from app.lanes import available_cores
from app.options import Options, parse_options
from app.pipeline import Pipeline, open_pipeline
from app.prepare import Kind, Prepared, Split, plan, prepare
from app.settings import Settings
from models.manifest import (
    ManifestError,
    Model,
    PublishedFile,
    TensorContract,
    load_manifest,
    load_published,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

models = typer.Typer(no_args_is_help=True, help="The model files that this project knows.")
app.add_typer(models, name="models")


def _describe(name: str) -> str:
    return f"{Options.model_fields[name].description}."


Faces = Annotated[str, typer.Option("--faces", help=_describe("faces"))]
Compose = Annotated[str, typer.Option("--compose", help=_describe("compose"))]
Background = Annotated[str | None, typer.Option("--background", help=_describe("background"))]
Format = Annotated[str | None, typer.Option("--format", help=_describe("format"))]
Quality = Annotated[int | None, typer.Option("--quality", help=_describe("quality"))]


@app.callback()
def photo2cartoon() -> None:
    """A portrait photo in, a cartoon of that person out."""


@app.command()
def serve() -> None:
    """Serve HTTP; every setting is a P2C_* environment variable."""
    from app.main import serve as serve_http  # noqa: PLC0415 - `run` needs no web framework

    serve_http(_read_settings())


@app.command()
def run(
    photos: Annotated[list[Path], typer.Argument(help="Photos.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="A picture file for one photo; else a folder."),
    ],
    faces: Faces = "largest",
    compose: Compose = "portrait",
    background: Background = None,
    output_format: Format = None,
    quality: Quality = None,
) -> None:
    """Turn photos into cartoons.

    Exit code: 0 all done, 1 some photos failed, 2 the call itself was wrong.
    """
    options = _read_options(
        faces=faces, compose=compose, background=background, format=output_format, quality=quality
    )
    targets, options = _plan_outputs(photos, output, options)
    pipeline = _open_pipeline()
    failed = [photo for photo in photos if not _run_one(pipeline, photo, targets[photo], options)]
    if failed:
        raise typer.Exit(1)


@app.command()
def bulk(
    source: Annotated[Path, typer.Argument(help="Folder of photos.", exists=True, file_okay=False)],
    target: Annotated[Path, typer.Argument(help="Folder for the cartoons.", file_okay=False)],
    faces: Faces = "largest",
    compose: Compose = "portrait",
    background: Background = None,
    output_format: Format = None,
    quality: Quality = None,
    report: Annotated[
        Path | None,
        typer.Option(help="CSV or JSON by its name. [TARGET/report.csv; of part I: report-I.csv]"),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Draw also what is there.")] = False,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Only part I of N, counted from 0.")
    ] = "0/1",
) -> None:
    """Turn a folder of photos into cartoons, on all cores; call again to go on where it stopped.

    Exit code: 0 all done, 1 some photos failed (the report says why), 2 the call itself was wrong
    or there was no photo, 130 stopped by Ctrl-C.
    """
    options = _read_options(
        faces=faces, compose=compose, background=background, format=output_format, quality=quality
    )
    if target.resolve() == source.resolve():
        raise typer.BadParameter("the cartoons need a folder of their own", param_hint="TARGET")
    photos = find_photos(source, target)
    if not photos:
        raise typer.BadParameter("there is no photo in it", param_hint="SOURCE")
    part = _read_shard(shard)
    places = plan_targets(photos, source, target, SUFFIXES[options.format or "png"])
    mine = [photo for photo in photos if part.has(str(photo.relative_to(source)))]
    targets = {photo: places[photo] for photo in mine}
    threads = _read_settings().threads or available_cores()
    work = run_bulk(_open_pipeline(), targets, source, options, threads=threads, again=again)
    outcomes: list[Outcome] = []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    try:
        with Progress(*columns, TimeRemainingColumn(), console=err) as progress:
            bar = progress.add_task("photos", total=len(targets))
            for outcome in work:
                outcomes.append(outcome)
                progress.advance(bar)
                if outcome.status == "failed":
                    _say_failure(outcome.photo, outcome.detail, outcome.code)
    except KeyboardInterrupt:
        work.close()
        raise typer.Exit(130) from None
    finally:
        path = report or target / (f"report-{part.index}.csv" if part.count > 1 else "report.csv")
        write_report(outcomes, path)
        counts = Counter(outcome.status for outcome in outcomes)
        words = ", ".join(f"{counts[status]} {status}" for status in ("done", "skipped", "failed"))
        out.print(f"{words}; report: {path}", markup=False)
    if counts["failed"]:
        raise typer.Exit(1)


def _read_shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--shard") from error


@app.command("prepare-data")
def prepare_data(
    photos: Annotated[Path, typer.Argument(help="Folder of photos.", exists=True, file_okay=False)],
    out_folder: Annotated[Path, typer.Argument(metavar="OUT", file_okay=False)],
    cartoons: Annotated[
        Path | None, typer.Option(help="Folder of drawings.", exists=True, file_okay=False)
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Folder of pairs, photo left.", exists=True, file_okay=False),
    ] = None,
    test_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the photos kept for testing, by name.")
    ] = 0.05,
    test_cartoons: Annotated[int, typer.Option(min=0, help="Last drawings by name, kept.")] = 0,
    test_pairs: Annotated[int, typer.Option(min=0, help="Last pairs by name, kept.")] = 0,
    holdout: Annotated[
        Path | None, typer.Option(help="File of names kept for testing.", exists=True)
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Threads; 0: one a core.")] = 0,
    again: Annotated[bool, typer.Option("--again", help="Do also what is done.")] = False,
) -> None:
    """Turn photos, drawings and pairs into training data; call again to go on where it stopped.

    Exit code: 0 done (skipped.csv lists what had no face), 2 the call itself was wrong, 130 stopped
    by Ctrl-C.
    """
    folders: dict[Kind, Path] = {"A": photos}
    folders |= {"B": cartoons} if cartoons else {}
    folders |= {"P": pairs} if pairs else {}
    names = holdout.read_text(encoding="utf-8").split("\n") if holdout else []
    kept = frozenset(name.strip() for name in names if name.strip())
    items = plan(folders, out_folder, Split(test_share, test_cartoons, test_pairs, kept))
    if not items:
        raise typer.BadParameter("there is no picture in it", param_hint="PHOTOS")
    threads = jobs or _read_settings().threads or available_cores()
    work = prepare(_open_pipeline(), items, out_folder, threads=threads, again=again)
    results: list[Prepared] = []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    try:
        with Progress(*columns, TimeRemainingColumn(), console=err) as progress:
            bar = progress.add_task("pictures", total=len(items))
            for result in work:
                results.append(result)
                progress.advance(bar)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    finally:
        work.close()
        counts = Counter(result.status for result in results)
        words = ", ".join(f"{counts[status]} {status}" for status in ("done", "there", "skipped"))
        out.print(f"{words}; {out_folder}", markup=False)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def train(context: typer.Context) -> None:
    """Train a generator of your own; `train --help` lists its options. Needs torch."""
    try:  # only here: serving and the rest of the command line do without torch
        from models.train import main as run_training  # noqa: PLC0415
    except ModuleNotFoundError as error:
        err.print(f"train needs {error.name}: CONTRIBUTING.md says how to install it")
        raise typer.Exit(2) from error
    raise typer.Exit(run_training(context.args))


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Weights: .pt, .onnx, .pdparams.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.onnx")],
    net: Annotated[str, typer.Option(help="Which of several networks.")] = "genA2B",
    size: Annotated[int, typer.Option(help="Side of the pictures, px.")] = 256,
    optimize: Annotated[bool, typer.Option(help="Rewrite the network for speed.")] = True,
    pixels: Annotated[bool, typer.Option("--pixels", help="uint8 RGBA in, uint8 RGB out.")] = False,
    half: Annotated[bool, typer.Option("--half", help="float16 convolutions, for GPUs.")] = False,
    name: Annotated[str, typer.Option(help="Metadata; default: name of OUT.")] = "",
    licence: Annotated[str, typer.Option(help="Metadata.")] = "not stated",
    origin: Annotated[str, typer.Option(help="Metadata: where the weights are from.")] = "",
) -> None:
    """Turn weights that you have into one ONNX file. Needs torch.

    Exit code: 0 converted, 2 refused or torch is missing.
    """
    try:  # only here: serving and the rest of the command line do without torch
        from models import convert as conversion  # noqa: PLC0415
        from models.weights_error import WeightsError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        err.print(f"convert needs {error.name}: install torch, then photo2cartoon\\[train]")
        raise typer.Exit(2) from error
    provenance = conversion.Provenance(name or target.stem, origin or "not stated", licence)
    try:
        form = conversion.choose_form(optimize, pixels, half)
        done = conversion.convert(source, target, provenance, net=net, side=size, form=form)
    except WeightsError as error:
        err.print(f"{source}: {error}", markup=False)
        raise typer.Exit(2) from error
    out.print(conversion.report(done, target), markup=False)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="A generator, ONNX.")],
    photos: Annotated[Path, typer.Argument(help="Folder of prepared photos, 256 px.")],
    cartoons: Annotated[Path, typer.Option(help="Folder of held-out drawings.")],
    output: Annotated[Path, typer.Option("--out", help="Folder for the report.")],
    pairs: Annotated[
        Path | None, typer.Option(help="Folder of prepared photos, a cartoon to the right of each.")
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="CSV: which photo belongs to which group of people.")
    ] = None,
    identity: Annotated[
        Path | None, typer.Option(help="Face recognition network: .onnx, .tflite or npm's .tgz.")
    ] = None,
) -> None:
    """Measure a generator: nearness to the style, likeness, by group. Needs torch.

    Exit code: 0 measured, 2 something given is not what it has to be, or torch is missing.
    """
    try:
        from models.evaluation import evaluate as evaluation  # noqa: PLC0415
        from models.evaluation.pictures import EvaluationError  # noqa: PLC0415
        from models.weights_error import WeightsError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        err.print(f"evaluate needs {error.name}: install torch, then photo2cartoon\\[train]")
        raise typer.Exit(2) from error
    request = evaluation.Request(model, photos, cartoons, output, pairs, groups, identity)
    try:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        with Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as bar:
            tasks: dict[str, TaskID] = {}

            def progress(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(what, total=total)
                bar.update(tasks[what], completed=done)

            evaluation.evaluate(request, progress)
    except (EvaluationError, WeightsError) as error:
        err.print(str(error), markup=False)
        raise typer.Exit(2) from error
    out.print(str(output / "report.html"), markup=False)


@models.command("list")
def list_models() -> None:
    """List what comes along and what can be pulled."""
    table = Table("name", "for", "style", "bytes", "sha256", "licence", box=None)
    for model in load_manifest().values():
        row = (model.name, model.role, model.style, f"{model.size_bytes:,}", model.sha256[:12])
        table.add_row(*row, model.licence)
    for file in load_published().values():
        size = f"{file.size_bytes:,}" if file.size_bytes else "to pull"
        digest = file.sha256[:12] if file.sha256 else "unverified"
        table.add_row(file.name, file.role, file.style, size, digest, file.licence)
    out.print(table)


@models.command()
def verify() -> None:
    """Check every file that comes along against the manifest. Exit code 1 if one differs."""
    failed = False
    for model in load_manifest().values():
        try:
            model.read_verified()
            out.print(f"{model.name}: ok", markup=False)
        except ManifestError as error:
            failed = True
            err.print(str(error), markup=False)
    if failed:
        raise typer.Exit(1)


@models.command()
def show(name: str) -> None:
    """Say everything that the manifest says about one file."""
    entry = _find_entry(name)
    for key in ("name", "role", "style", "path", "file", "url", "page", "format", "size_bytes",
                "sha256", "licence", "source", "made_by"):  # fmt: skip
        if hasattr(entry, key):
            out.print(f"{key}: {getattr(entry, key) or 'unknown'}", markup=False)
    for side, tensors in (("input", entry.inputs), ("output", entry.outputs)):
        for tensor in tensors:
            out.print(f"{side}: {_contract(tensor)}", markup=False)


def _contract(tensor: TensorContract) -> str:
    shape = ", ".join(map(str, tensor.shape))
    low, high = tensor.range
    words = (f"{tensor.dtype} ({shape})", tensor.layout, tensor.colour, f"{low:g}..{high:g}")
    return f"{tensor.name} {' '.join(word for word in words if word != '-')}: {tensor.meaning}"


def _find_entry(name: str) -> Model | PublishedFile:
    entries: dict[str, Model | PublishedFile] = {**load_manifest(), **load_published()}
    if name not in entries:
        raise typer.BadParameter(f"one of {', '.join(entries)}", param_hint="NAME")
    return entries[name]


@models.command("pull")
def pull_model(
    name: str,
    folder: Annotated[Path, typer.Option(help="Where to put it.")] = Path("data/weights"),
) -> None:
    """Download weights that somebody else publishes. Exit code 1 if they cannot be had."""
    entry = _find_entry(name)
    if isinstance(entry, Model):
        out.print(f"{name} comes along: {entry.path}", markup=False)
        return
    from models.pull import PullError, pull  # noqa: PLC0415 - serving has nothing to fetch

    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    try:
        with Progress(*columns, console=err, transient=True) as bar:
            task = bar.add_task(name, total=None)
            done = pull(entry, folder, lambda n, total: bar.update(task, completed=n, total=total))
    except PullError as error:
        err.print(str(error), markup=False)
        raise typer.Exit(1) from error
    state = "verified" if done.verified else "unverified: the manifest knows no sha256"
    out.print(f"{done.path}\nsha256 {done.sha256} ({state})\n{entry.made_by}", markup=False)


def _run_one(pipeline: Pipeline, photo: Path, target: Path, options: Options) -> bool:
    try:
        for path in write_pictures(pipeline.cartoonize(photo.read_bytes(), options), target):
            out.print(f"{photo} -> {path}", markup=False)
    except Problem as problem:
        _say_failure(photo, problem.detail, problem.code)
        return False
    except OSError as error:
        _say_failure(photo, str(error.strerror), os.fspath(error.filename))
        return False
    return True


def _say_failure(photo: Path | str, detail: str, code: str) -> None:
    err.print(f"{photo}: {detail} ({code})", markup=False)


def _plan_outputs(
    photos: list[Path], output: Path, options: Options
) -> tuple[dict[Path, Path], Options]:
    """Say where each cartoon goes and in which format, before any work is done.

    Raises:
        typer.BadParameter: two photos have one target, or a target is one of the photos.
    """
    named: OutputFormat | None = FORMATS_BY_SUFFIX.get(output.suffix.lower())
    if named and not output.is_dir():
        if len(photos) > 1:
            raise typer.BadParameter("several photos need a folder", param_hint="--output")
        if options.format not in (None, named):
            raise typer.BadParameter("differs from the file's name", param_hint="--format")
        options = _read_options(**{**options.model_dump(), "format": named})
        targets = {photos[0]: output}
    else:
        suffix = SUFFIXES[options.format or "png"]
        targets = {photo: output / f"{photo.stem}-cartoon{suffix}" for photo in photos}
    places = {target.resolve() for target in targets.values()}
    if len(places) < len(photos):
        raise typer.BadParameter("two photos would be written to one file", param_hint="PHOTOS")
    if places & {photo.resolve() for photo in photos}:
        raise typer.BadParameter("would overwrite a photo", param_hint="--output")
    return targets, options


def _read_options(**given: Any) -> Options:
    try:
        return parse_options(given)
    except InvalidOption as problem:
        raise typer.BadParameter(problem.detail) from problem


def _open_pipeline() -> Pipeline:
    try:
        return open_pipeline(_read_settings())
    except ManifestError as error:
        err.print(str(error), markup=False, style="red")
        raise typer.Exit(2) from error


def _read_settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        for problem in error.errors():
            name = "".join(f"P2C_{str(part).upper()}: " for part in problem["loc"])
            err.print(f"{name}{problem['msg']}", markup=False, style="red")
        raise typer.Exit(2) from error


def main() -> None:
    """Entry point of the console script."""
    app()
