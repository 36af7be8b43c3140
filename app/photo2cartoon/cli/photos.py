"""The commands that draw photos: `run` and `bulk`."""

import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from photo2cartoon.cli.bulk import (
    Outcome,
    Shard,
    find_photos,
    plan_targets,
    run_bulk,
    write_pictures,
    write_report,
)
from photo2cartoon.cli.terminal import count_up, err, load_pipeline, out, read_settings
from photo2cartoon.ground.errors import InvalidOption, Problem
from photo2cartoon.ground.formats import FORMATS_BY_SUFFIX, SUFFIXES, OutputFormat
from photo2cartoon.ground.machine import available_cores
from photo2cartoon.ground.options import Options, parse_options
from photo2cartoon.pipeline.pipeline import Pipeline


def _describe(name: str) -> str:
    return f"{Options.model_fields[name].description}."


Faces = Annotated[str, typer.Option("--faces", help=_describe("faces"))]
Compose = Annotated[str, typer.Option("--compose", help=_describe("compose"))]
Background = Annotated[str | None, typer.Option("--background", help=_describe("background"))]
Format = Annotated[str | None, typer.Option("--format", help=_describe("format"))]
Quality = Annotated[int | None, typer.Option("--quality", help=_describe("quality"))]


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
    pipeline = load_pipeline(read_settings())
    failed = [photo for photo in photos if not _run_one(pipeline, photo, targets[photo], options)]
    if failed:
        raise typer.Exit(1)


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
    settings = read_settings()
    pipeline = load_pipeline(settings)
    threads = pipeline.lanes(settings.threads or available_cores())
    work = run_bulk(pipeline, targets, source, options, threads=threads, again=again)
    outcomes: list[Outcome] = []
    try:
        with count_up() as progress:
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
