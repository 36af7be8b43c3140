"""The command line: `photo2cartoon serve` and `photo2cartoon run`."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from app.errors import Problem
from app.image import OutputFormat
from app.pipeline import Pipeline, open_pipeline
from app.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

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
