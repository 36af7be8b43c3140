"""The commands that draw photos: `run` and `bulk`."""

import os
import sys
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import typer

from photo2cartoon.cli.bulk import Outcome, Shard, write_pictures
from photo2cartoon.cli.bulk_sources import (
    BulkCall,
    is_url,
    save_report,
    start_on_paths,
    start_on_urls,
)
from photo2cartoon.cli.folders import count_words, follow
from photo2cartoon.cli.terminal import err, load_pipeline, out, read_settings, settle, shown
from photo2cartoon.ground.errors import InvalidOption, Problem
from photo2cartoon.ground.formats import FORMATS_BY_SUFFIX, SUFFIXES, OutputFormat
from photo2cartoon.ground.options import Options, parse_options
from photo2cartoon.pipeline.pipeline import Pipeline

STREAM = Path("-")  # the standard input


def _describe(name: str) -> str:
    return f"{Options.model_fields[name].description}."


Style = Annotated[str | None, typer.Option("--style", help=_describe("style"))]
Faces = Annotated[str, typer.Option("--faces", help=_describe("faces"))]
Compose = Annotated[str, typer.Option("--compose", help=_describe("compose"))]
Size = Annotated[int | None, typer.Option("--size", help=_describe("size"))]
Background = Annotated[str | None, typer.Option("--background", help=_describe("background"))]
Colours = Annotated[str | None, typer.Option("--colours", help=_describe("colours"))]
Format = Annotated[str | None, typer.Option("--format", help=_describe("format"))]
Quality = Annotated[int | None, typer.Option("--quality", help=_describe("quality"))]


def run(
    photos: Annotated[list[Path], typer.Argument(help="Photos; - is the standard input.")],
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
    compose: Compose = "portrait",
    size: Size = None,
    background: Background = None,
    colours: Colours = None,
    output_format: Format = None,
    quality: Quality = None,
) -> None:
    """Turn photos into cartoons.

    Exit code: 0 all photos are drawn, 1 some photos failed, 2 the call itself is wrong.
    """
    options = _read_options(
        style=style,
        faces=faces,
        compose=compose,
        size=size,
        background=background,
        colours=colours,
        format=output_format,
        quality=quality,
    )
    targets, options = _plan_outputs(photos, output, options)
    pipeline = load_pipeline(read_settings())
    options = settle(pipeline, options)
    failed = [
        photo for photo in photos if not _run_one(pipeline, photo, targets.get(photo), options)
    ]
    if failed:
        raise typer.Exit(1)


def bulk(
    source: Annotated[
        str,
        typer.Argument(help="Folder of photos: a path or a URL (s3://, gs://, az://, https://)."),
    ],
    target: Annotated[str, typer.Argument(help="Folder for the cartoons: a path or a URL.")],
    style: Style = None,
    faces: Faces = "largest",
    compose: Compose = "portrait",
    size: Size = None,
    background: Background = None,
    colours: Colours = None,
    output_format: Format = None,
    quality: Quality = None,
    report: Annotated[
        str | None,
        typer.Option(
            help="A .csv or .json file, or its URL. [TARGET/report.csv, or report-I.csv for part I]"
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Draw existing cartoons again.")] = False,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Draw only part I of N, counted from 0.")
    ] = "0/1",
) -> None:
    """Turn a folder of photos into cartoons, on all cores; call it again to continue a stopped run.

    Exit code: 0 all photos are drawn, 1 some photos failed (the report says why), 2 the call itself
    is wrong or there is no photo, 130 stopped by Ctrl-C.
    """
    options = _read_options(
        style=style,
        faces=faces,
        compose=compose,
        size=size,
        background=background,
        colours=colours,
        format=output_format,
        quality=quality,
    )
    part = _read_shard(shard)
    place = report or f"{target.rstrip('/')}/report{f'-{part.index}' if part.count > 1 else ''}.csv"
    call = BulkCall(source, target, options, part, again=again)
    if is_url(source) or is_url(target):
        total, work = start_on_urls(call)
    else:
        total, work = start_on_paths(call)
    outcomes: list[Outcome] = []

    def note(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if outcome.status == "failed":
            _say_failure(outcome.photo, outcome.detail, outcome.code)

    try:
        finished = follow(work, "photos", total, note)
    finally:
        save_report(outcomes, place)
        statuses = [outcome.status for outcome in outcomes]
        words = count_words(statuses, ("done", "skipped", "failed"))
        out.print(f"{words}; report: {shown(place)}", markup=False)
    if not finished:
        raise typer.Exit(130)
    if "failed" in statuses:
        raise typer.Exit(1)


def _read_shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--shard") from error


def _run_one(pipeline: Pipeline, photo: Path, target: Path | None, options: Options) -> bool:
    """Draw one photo into `target`, or into the standard output; False if it failed."""
    try:
        data = sys.stdin.buffer.read() if photo == STREAM else photo.read_bytes()
        pictures = pipeline.cartoonize(data, options)
        if target is None:
            sys.stdout.buffer.write(b"".join(pictures))
            return True
        for path in write_pictures(pictures, target):
            out.print(f"{shown(photo)} -> {shown(path)}", markup=False)
    except Problem as problem:
        _say_failure(photo, problem.detail, problem.code)
        return False
    except IsADirectoryError as error:
        _say_failure(photo, str(error.strerror), "photo2cartoon bulk draws a whole folder")
        return False
    except OSError as error:
        _say_failure(photo, str(error.strerror), shown(error.filename or photo))
        return False
    return True


def _say_failure(photo: Path | str, detail: str, code: str) -> None:
    err.print(f"{shown(photo)}: {detail} ({code})", markup=False)


def _plan_outputs(
    photos: list[Path], output: str | None, options: Options
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
    if places & {photo.resolve() for photo in photos}:
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
        raise typer.BadParameter(
            f"{shown(path)}: a picture ends in {', '.join(FORMATS_BY_SUFFIX)}, "
            f"and a new folder with such a name in {os.sep}",
            param_hint="--output",
        )
    if named and not folder:
        if len(photos) > 1:
            raise typer.BadParameter("several photos need a folder", param_hint="--output")
        if options.format not in (None, named):
            raise typer.BadParameter(
                "differs from the suffix of the output file", param_hint="--format"
            )
        options = _read_options(**{**options.model_dump(), "format": named})
        return {photos[0]: path}, options
    suffix = SUFFIXES[options.format or "png"]
    stems = {photo: "stdin" if photo == STREAM else photo.stem for photo in photos}
    return {photo: path / f"{stem}-cartoon{suffix}" for photo, stem in stems.items()}, options


def _read_options(**given: Any) -> Options:
    try:
        return parse_options(given)
    except InvalidOption as problem:
        raise typer.BadParameter(problem.detail) from problem
