"""The command line: `photo2cartoon serve`, `run`, `bulk`, `prepare-data`, `train` and more."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from app.doctor import main as examine_and_show
from app.photo_commands import bulk, prepare_data, run
from app.pipeline import open_pipeline
from app.terminal import count_up, err, out, read_settings, told_in_one_line
from models.manifest import (
    ManifestError,
    Model,
    PublishedFile,
    TensorContract,
    load_manifest,
    load_published,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
models = typer.Typer(no_args_is_help=True, help="The model files that this project knows.")
app.add_typer(models, name="models")


@app.callback()
def photo2cartoon() -> None:
    """A portrait photo in, a cartoon of that person out."""


@app.command()
def serve() -> None:
    """Serve HTTP; every setting is a P2C_* environment variable.

    Exit code: 0 stopped by a signal, 2 a setting, a model or this machine will not do.
    """
    from app.main import serve as serve_http  # noqa: PLC0415 - `run` needs no web framework

    settings = read_settings()
    with told_in_one_line():
        serve_http(settings)


app.command()(run)
app.command()(bulk)
app.command("prepare-data")(prepare_data)


@app.command()
def doctor() -> None:
    """Say what is wrong with this machine, installation and settings, and what to do.

    Exit code: 0 nothing is wrong, 1 something is.
    """
    raise typer.Exit(examine_and_show())


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
        with count_up() as bar:
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


@models.command("build-engines")
def build_engines() -> None:
    """Build TensorRT's engines before the service starts: P2C_PROVIDER=tensorrt, P2C_ENGINE_CACHE.

    Exit code: 0 they are there, 2 a setting, a model or this machine will not do.
    """
    settings = read_settings()
    if settings.provider != "tensorrt":
        err.print(f"P2C_PROVIDER={settings.provider} has no engines: set P2C_PROVIDER=tensorrt")
        raise typer.Exit(2)
    start = time.monotonic()
    with told_in_one_line():
        open_pipeline(settings).close()
    took = time.monotonic() - start
    out.print(f"{settings.engine_cache.resolve()}: ready after {took:.0f} s", markup=False)


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


def main() -> None:
    """Entry point of the console script."""
    app()
