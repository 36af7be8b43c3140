"""What the commands that draw share: their options, and what they say of wrong ones."""

from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from photo2cartoon.cli.terminal import err, shown
from photo2cartoon.ground.errors import InvalidOption
from photo2cartoon.ground.options import Options, parse_options


def _describe(name: str) -> str:
    return f"{Options.model_fields[name].description}."


Style = Annotated[str | None, typer.Option("--style", help=_describe("style"))]
Faces = Annotated[str, typer.Option("--faces", help=_describe("faces"))]
OnNoFace = Annotated[str, typer.Option("--on-no-face", help=_describe("on_no_face"))]
Compose = Annotated[str, typer.Option("--compose", help=_describe("compose"))]
Size = Annotated[int | None, typer.Option("--size", help=_describe("size"))]
Background = Annotated[str | None, typer.Option("--background", help=_describe("background"))]
Colours = Annotated[str | None, typer.Option("--colours", help=_describe("colours"))]
Format = Annotated[str | None, typer.Option("--format", help=_describe("format"))]
Quality = Annotated[int | None, typer.Option("--quality", help=_describe("quality"))]


def read_options(**given: Any) -> Options:
    """Check the options of a call.

    Raises:
        typer.BadParameter: a value is wrong.
    """
    try:
        return parse_options(given)
    except InvalidOption as problem:
        raise typer.BadParameter(problem.detail) from problem


class Settles(Protocol):
    """The styles of a pipeline, or those of a service."""

    def settle(self, options: Options) -> Options: ...


def settle(styles: Settles, options: Options) -> Options:
    """Return `options` with a style that is there.

    Raises:
        typer.BadParameter: there is no such style.
    """
    try:
        return styles.settle(options)
    except InvalidOption as problem:
        raise typer.BadParameter(problem.detail) from problem


def check_folders(source: Path, target: Path) -> None:
    """Refuse a folder for cartoons in which they would lie among the photos.

    Raises:
        typer.BadParameter: both are the same, or a subfolder of SOURCE leads back into it.
    """
    photos, cartoons = source.resolve(), target.resolve()
    if photos == cartoons:
        raise typer.BadParameter("the cartoons need a folder of their own", param_hint="TARGET")
    if cartoons in photos.parents and (back := photos / photos.relative_to(cartoons)).exists():
        raise typer.BadParameter(
            f"the cartoons of {shown(back)} would lie among the photos", param_hint="TARGET"
        )


def say_failure(photo: Path | str, detail: str, code: str) -> None:
    """Say on the standard error why a photo was not drawn."""
    err.print(f"{shown(photo)}: {detail} ({code})", markup=False)
