"""The command line: `photo2cartoon serve`, `run`, `convert` and `models`."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from app.errors import Problem
from app.image import OutputFormat
from app.pipeline import Pipeline, open_pipeline
from app.settings import Settings
from models.manifest import (
    ManifestError,
    Model,
    PublishedFile,
    TensorContract,
    load_manifest,
    load_published,
)
from models.pull import PullError, pull

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

models = typer.Typer(no_args_is_help=True, help="The model files that this project knows.")
app.add_typer(models, name="models")

SUFFIXES: dict[str, OutputFormat] = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".webp": "webp",
}


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
    photos: Annotated[list[Path], typer.Argument(help="Photos: JPEG, PNG or WebP.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="A picture file for one photo; a folder for one or many."
        ),
    ],
    output_format: Annotated[
        OutputFormat | None, typer.Option("--format", help="Default: by the file's name, or png.")
    ] = None,
) -> None:
    """Turn photos into cartoons.

    Exit code: 0 all done, 1 some photos failed, 2 the call itself was wrong.
    """
    targets = _plan_outputs(photos, output, output_format)
    pipeline = open_pipeline(_read_settings())
    failed = [photo for photo, target in targets.items() if not _run_one(pipeline, photo, *target)]
    if failed:
        raise typer.Exit(1)


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


def _run_one(pipeline: Pipeline, photo: Path, target: Path, output_format: OutputFormat) -> bool:
    try:
        cartoon = pipeline.cartoonize(photo.read_bytes(), output_format)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(cartoon)
    except Problem as problem:
        err.print(f"{photo}: {problem.detail} ({problem.code})", markup=False)
        return False
    except OSError as error:
        err.print(f"{photo}: {error.strerror} ({error.filename})", markup=False)
        return False
    out.print(f"{photo} -> {target}", markup=False)
    return True


def _plan_outputs(
    photos: list[Path], output: Path, output_format: OutputFormat | None
) -> dict[Path, tuple[Path, OutputFormat]]:
    """Say where each cartoon goes, before any work is done.

    Raises:
        typer.BadParameter: two photos have one target, or a target is one of the photos.
    """
    suffix_format = SUFFIXES.get(output.suffix.lower())
    if suffix_format and not output.is_dir():
        if len(photos) > 1:
            raise typer.BadParameter("several photos need a folder", param_hint="--output")
        if output_format not in (None, suffix_format):
            raise typer.BadParameter("differs from the file's name", param_hint="--format")
        targets = {photos[0]: (output, suffix_format)}
    else:
        chosen = output_format or "png"
        suffix = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}[chosen]
        targets = {photo: (output / f"{photo.stem}-cartoon{suffix}", chosen) for photo in photos}
    places = [target.resolve() for target, _ in targets.values()]
    if len(set(places)) < len(photos):
        raise typer.BadParameter("two photos would be written to one file", param_hint="PHOTOS")
    if set(places) & {photo.resolve() for photo in photos}:
        raise typer.BadParameter("would overwrite a photo", param_hint="--output")
    return targets


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
