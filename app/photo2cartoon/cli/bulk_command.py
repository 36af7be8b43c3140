"""The command `bulk`: draw a folder of photos, on this machine or on a Ray cluster."""

from typing import Annotated, Literal

import typer

from photo2cartoon.cli.bulk import Outcome, Shard
from photo2cartoon.cli.bulk_sources import (
    BulkCall,
    check_report,
    is_url,
    save_report,
    start_on_paths,
    start_on_ray,
    start_on_urls,
)
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
)
from photo2cartoon.cli.folders import count_words, follow
from photo2cartoon.cli.terminal import out, shown, told_in_one_line


def bulk(
    source: Annotated[
        str,
        typer.Argument(help="Folder of photos: a path or a URL (s3://, gs://, az://, https://)."),
    ],
    target: Annotated[str, typer.Argument(help="Folder for the cartoons: a path or a URL.")],
    style: Style = None,
    faces: Faces = "largest",
    on_no_face: OnNoFace = "error",
    compose: Compose = "portrait",
    size: Size = None,
    background: Background = None,
    colours: Colours = None,
    output_format: Format = None,
    quality: Quality = None,
    report: Annotated[
        str | None,
        typer.Option(
            help="A .csv, .json or .parquet file, or its URL. "
            "[TARGET/report.csv, or report-I.csv for part I]"
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Draw existing cartoons again.")] = False,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Draw only part I of N, counted from 0.")
    ] = "0/1",
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="What draws: the cores of this machine, or a Ray cluster."),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Ray: the cluster; auto is the one of this machine. [one that is started here]",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Ray: how many actors draw. [one a GPU, or one a core]"),
    ] = None,
) -> None:
    """Turn a folder of photos into cartoons, on all cores; call it again to continue a stopped run.

    Exit code: 0 all photos are drawn, 1 some photos failed (the report says why), 2 the call itself
    is wrong or there is no photo, 130 stopped by Ctrl-C.
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
    part = _read_shard(shard)
    place = report or f"{target.rstrip('/')}/report{f'-{part.index}' if part.count > 1 else ''}.csv"
    check_report(place)
    call = BulkCall(source, target, options, part, again=again)
    if engine == "ray":
        total, work = start_on_ray(call, address, workers)
    elif address or workers:
        raise typer.BadParameter("only --engine ray has it", param_hint="--address, --workers")
    elif is_url(source) or is_url(target):
        total, work = start_on_urls(call)
    else:
        total, work = start_on_paths(call)
    outcomes: list[Outcome] = []

    def note(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if outcome.status == "failed":
            say_failure(outcome.photo, outcome.detail, outcome.code)

    try:
        with told_in_one_line():
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
