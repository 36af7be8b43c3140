"""The command `run`: draw photos, one after the other."""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from photo2cartoon.cli.bulk import write_pictures
from photo2cartoon.cli.drawing import (
    Background,
    Colours,
    Compose,
    Faces,
    Format,
    OnNoFace,
    Quality,
    Size,
    Style,
    read_options,
    say_failure,
    settle,
)
from photo2cartoon.cli.fetching import NotFetchedError, fetch, part_addresses
from photo2cartoon.cli.remote import Remote, open_remote
from photo2cartoon.cli.terminal import load_pipeline, out, read_settings, shown
from photo2cartoon.ground.errors import Problem
from photo2cartoon.ground.formats import FORMATS_BY_SUFFIX, SUFFIXES, OutputFormat
from photo2cartoon.ground.options import Options
from photo2cartoon.pipeline.pipeline import Pipeline

STREAM = Path("-")  # the standard input
Artist = Pipeline | Remote  # what settles options and draws


def run(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTOS", help="Photos, or their https addresses; - is the standard input."
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="A picture file for one photo, a folder, or - for the standard output. "
            "[NAME-cartoon.png beside each photo; nothing is overwritten there]",
        ),
    ] = None,
    style: Style = None,
    faces: Faces = "largest",
    on_no_face: OnNoFace = "error",
    compose: Compose = "portrait",
    size: Size = None,
    background: Background = None,
    colours: Colours = None,
    output_format: Format = None,
    quality: Quality = None,
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Draw on the service at this address, and not here."),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="PHOTO2CARTOON_API_KEY", help="The API key of that service."),
    ] = None,
) -> None:
    """Turn photos into cartoons.

    Exit code: 0 all photos are drawn, 1 some photos failed, 2 the call itself is wrong, or the
    service does not answer.
    """
    options = read_options(
        style=style,
        faces=faces,
        on_no_face=on_no_face,
        compose=compose,
        size=size,
        background=background,
        colours=colours,
        format=output_format,
        quality=quality,
    )
    photos, addresses = part_addresses(given)
    targets, options = _plan_outputs(photos, output, options, addresses)
    settings = read_settings()

    def read(photo: Path) -> bytes:
        if photo in addresses:
            return fetch(addresses[photo], settings.max_body_bytes)
        return sys.stdin.buffer.read() if photo == STREAM else photo.read_bytes()

    with open_remote(server, api_key) if server else nullcontext(load_pipeline(settings)) as artist:
        options = settle(artist if isinstance(artist, Remote) else artist.styles, options)
        drawn = [
            _run_one(artist, read, photo, targets.get(photo), options, addresses.get(photo))
            for photo in photos
        ]
    if not all(drawn):
        raise typer.Exit(1)


def _run_one(
    artist: Artist,
    read: Callable[[Path], bytes],
    photo: Path,
    target: Path | None,
    options: Options,
    address: str | None,
) -> bool:
    """Draw one photo into `target`, or into the standard output; False if it failed."""
    name = address or photo
    try:
        pictures = artist.cartoonize(read(photo), options)
        if target is None:
            sys.stdout.buffer.write(b"".join(pictures))
            return True
        for path in write_pictures(pictures, target):
            out.print(f"{shown(name)} -> {shown(path)}", markup=False)
    except Problem as problem:
        say_failure(name, problem.detail, problem.code)
        return False
    except NotFetchedError as error:
        say_failure(name, str(error.strerror), "not_fetched")
        return False
    except IsADirectoryError as error:
        say_failure(name, str(error.strerror), "photo2cartoon bulk draws a whole folder")
        return False
    except OSError as error:
        say_failure(name, str(error.strerror), shown(error.filename or name))
        return False
    return True


def _plan_outputs(
    photos: list[Path], output: str | None, options: Options, addresses: Mapping[Path, str]
) -> tuple[dict[Path, Path], Options]:
    """Choose the place and format of each cartoon, before any work is done.

    Returns:
        The place of each photo's cartoon, empty for the standard output; and the options.

    Raises:
        typer.BadParameter: two photos have the same target, a target is one of the photos, or
            the name of a picture has a suffix that is no format of ours.
    """
    if output == "-" or (output is None and STREAM in photos):
        _check_stream(photos, options)
        return {}, options
    if output is None:
        suffix = SUFFIXES[options.format or "png"]
        targets = {photo: _free_place(photo, suffix) for photo in photos}
    else:
        targets, options = _plan_named(photos, output, options)
    places = {target.resolve() for target in targets.values()}
    if len(places) < len(photos):
        raise typer.BadParameter(
            "two photos would be written to the same file", param_hint="PHOTOS"
        )
    if places & {photo.resolve() for photo in photos if photo not in addresses}:
        raise typer.BadParameter("would overwrite a photo", param_hint="--output")
    return targets, options


def _check_stream(photos: list[Path], options: Options) -> None:
    """Refuse what one stream cannot hold, and a terminal, which cannot show it."""
    if len(photos) > 1 or (options.faces == "all" and options.compose == "portrait"):
        raise typer.BadParameter("the standard output takes one picture", param_hint="--output")
    if sys.stdout.isatty():
        raise typer.BadParameter(
            "a terminal shows no picture: send it to a file or another program",
            param_hint="--output",
        )


def _free_place(photo: Path, suffix: str) -> Path:
    """Return a place beside the photo where nothing is yet, for one picture or several."""
    for number in count(1):
        stem = f"{photo.stem}-cartoon" + (f"_{number}" if number > 1 else "")
        place = photo.with_name(stem + suffix)
        if not place.exists() and not photo.with_name(f"{stem}-1{suffix}").exists():
            return place
    raise AssertionError  # the numbers do not end


def _plan_named(
    photos: list[Path], output: str, options: Options
) -> tuple[dict[Path, Path], Options]:
    path = Path(output)
    named: OutputFormat | None = FORMATS_BY_SUFFIX.get(path.suffix.lower())
    folder = path.is_dir() or output.endswith(os.sep)
    if path.suffix[1:2].isalpha() and not named and not folder:
        *suffixes, last = FORMATS_BY_SUFFIX
        raise typer.BadParameter(
            f"no picture can be written as {shown(path.suffix)}: the name must end in "
            f"{', '.join(suffixes)} or {last}, or in {os.sep} if it is that of a folder",
            param_hint="--output",
        )
    if named and not folder:
        if len(photos) > 1:
            raise typer.BadParameter("several photos need a folder", param_hint="--output")
        if options.format not in (None, named):
            raise typer.BadParameter(
                "differs from the suffix of the output file", param_hint="--format"
            )
        options = read_options(**{**options.model_dump(), "format": named})
        return {photos[0]: path}, options
    suffix = SUFFIXES[options.format or "png"]
    stems = {photo: "stdin" if photo == STREAM else photo.stem for photo in photos}
    return {photo: path / f"{stem}-cartoon{suffix}" for photo, stem in stems.items()}, options
