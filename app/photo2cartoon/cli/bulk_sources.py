"""What `bulk` has to draw, and who draws it: paths, URLs, which take fsspec, and a Ray cluster."""

from collections.abc import Generator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import typer

from photo2cartoon.cli.bulk import (
    PARQUET,
    Outcome,
    Shard,
    encode_report,
    plan_targets,
    run_bulk,
    write_report,
)
from photo2cartoon.cli.drawing import check_folders, settle
from photo2cartoon.cli.terminal import load_pipeline, read_settings, told_in_one_line
from photo2cartoon.ground.errors import InvalidOption
from photo2cartoon.ground.formats import SUFFIXES
from photo2cartoon.ground.machine import available_cores
from photo2cartoon.ground.options import Options
from photo2cartoon_models.files import find_photos

if TYPE_CHECKING:
    from photo2cartoon.cli.objects import Work

Started = tuple[int, Generator[Outcome, None, None]]
READS_AHEAD = 2  # threads a core where folders are remote: one draws while another waits for bytes


@dataclass(frozen=True)
class BulkCall:
    """What the caller asks for.

    Attributes:
        source: folder of photos, a path or a URL.
        target: folder for the cartoons, likewise.
        options: as for one photo.
        part: which of the photos to draw.
        again: whether to draw photos again whose cartoon exists.
    """

    source: str
    target: str
    options: Options
    part: Shard
    again: bool

    @property
    def suffix(self) -> str:
        """The suffix of the cartoons."""
        return SUFFIXES[self.options.format or "png"]


def is_url(place: str) -> bool:
    """Tell whether `place` is no path of this machine: it has a scheme, as a chain of them has."""
    return "://" in place


def start_on_paths(call: BulkCall) -> Started:
    """Return how many photos there are, and their outcomes as this machine draws them.

    Raises:
        typer.BadParameter: the source is no folder or has no photo, or is the target.
    """
    targets = _plan_on_paths(call)
    settings = read_settings()
    pipeline = load_pipeline(settings)
    options = settle(pipeline.styles, call.options)
    threads = pipeline.lanes(settings.threads or available_cores())
    source = Path(call.source)
    work = run_bulk(pipeline, targets, source, options, threads=threads, again=call.again)
    return len(targets), work


def _plan_on_paths(call: BulkCall) -> dict[Path, Path]:
    source, target = Path(call.source), Path(call.target)
    if not source.is_dir():
        raise typer.BadParameter("there is no such folder", param_hint="SOURCE")
    if target.exists() and not target.is_dir():
        raise typer.BadParameter("this is a file", param_hint="TARGET")
    check_folders(source, target)
    photos = find_photos(source, outside=target)
    if not photos:
        raise typer.BadParameter("there is no photo in this folder", param_hint="SOURCE")
    places = plan_targets(photos, source, target, call.suffix)
    mine = [photo for photo in photos if call.part.has(str(photo.relative_to(source)))]
    return {photo: places[photo] for photo in mine}


def start_on_urls(call: BulkCall) -> Started:
    """Do as `start_on_paths`, where one of the folders is not of this machine.

    Raises:
        typer.BadParameter: as `start_on_paths`; a folder cannot be opened, listed or written to.
    """
    work = _plan(call)
    from photo2cartoon.cli.objects import draw_here  # noqa: PLC0415 - `_plan` has made sure of it

    settings = read_settings()
    pipeline = load_pipeline(settings)
    settle(pipeline.styles, call.options)
    threads = READS_AHEAD * pipeline.lanes(settings.threads or available_cores())
    return len(work.places), draw_here(pipeline, work, threads=threads, again=call.again)


def start_on_ray(call: BulkCall, address: str | None, workers: int | None) -> Started:
    """Do as `start_on_paths` on a Ray cluster, for paths, which all its machines share, and URLs.

    Args:
        call: what is asked for.
        address: of the cluster, as `ray.init` takes it; None starts one on this machine.
        workers: how many actors draw; None fills the cluster.

    Raises:
        typer.BadParameter: as `start_on_urls`; Ray is not installed, or there is no such cluster.
    """
    if find_spec("ray") is None or find_spec("fsspec") is None:
        raise typer.BadParameter(
            "ray needs packages: pip install 'photo2cartoon[cpu,ray]'", param_hint="--engine"
        )
    work = _plan(call) if is_url(call.source) or is_url(call.target) else _plan_shared(call)
    from photo2cartoon.cli.on_ray import start_pool  # noqa: PLC0415 - of the extra `ray`

    settings = read_settings()
    with told_in_one_line():
        try:
            outcomes = start_pool(work, settings, address=address, count=workers, again=call.again)
        except InvalidOption as problem:
            raise typer.BadParameter(problem.detail) from problem
        except ConnectionError as error:
            raise typer.BadParameter(str(error), param_hint="--address") from error
    return len(work.places), outcomes


def _plan_shared(call: BulkCall) -> "Work":
    """Plan as for paths, so that the same photos are found; what travels is named like URLs."""
    from photo2cartoon.cli.objects import Folder, Work  # noqa: PLC0415 - of the extra `objects`

    source, target = Path(call.source), Path(call.target)
    folders = Folder(str(source.absolute())), Folder(str(target.absolute()))
    places = {
        photo.relative_to(source).as_posix(): place.relative_to(target).as_posix()
        for photo, place in _plan_on_paths(call).items()
    }
    return Work(*folders, places, call.options)


def _plan(call: BulkCall) -> "Work":
    if find_spec("fsspec") is None:
        raise typer.BadParameter("URLs need the package fsspec", param_hint="SOURCE")
    from photo2cartoon.cli.objects import Folder, Work  # noqa: PLC0415 - of the extra `objects`

    try:
        source, target = Folder(call.source), Folder(call.target)
        if not target.writable:
            raise typer.BadParameter(
                "only object stores and paths hold whole files", param_hint="TARGET"
            )
        if (source.files, source.root) == (target.files, target.root):
            raise typer.BadParameter("the cartoons need a folder of their own", param_hint="TARGET")
        work = Work.plan(source, target, call.options, call.part, call.suffix)
    except (ImportError, OSError, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="SOURCE or TARGET") from error
    return work


def check_report(place: str) -> None:
    """Refuse a report that could not be written, before hours of work.

    Raises:
        typer.BadParameter: Parquet needs pyarrow.
    """
    if place.lower().endswith(PARQUET) and find_spec("pyarrow") is None:
        raise typer.BadParameter("Parquet needs the package pyarrow", param_hint="--report")


def save_report(outcomes: list[Outcome], place: str) -> None:
    """Write the outcomes to a file, by its path or URL, in the format that its suffix names."""
    if not is_url(place):
        write_report(outcomes, Path(place))
        return
    from photo2cartoon.cli.objects import write_url  # noqa: PLC0415 - of the extra `objects`

    write_url(place, encode_report(outcomes, PurePosixPath(place).suffix.lower()))
