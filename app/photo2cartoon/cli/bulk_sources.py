"""What `bulk` has to draw: photos below a path, or below a URL, which takes fsspec."""

from collections.abc import Generator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import typer

from photo2cartoon.cli.bulk import (
    Outcome,
    Shard,
    encode_report,
    plan_targets,
    run_bulk,
    write_report,
)
from photo2cartoon.cli.drawing import check_folders, settle
from photo2cartoon.cli.terminal import load_pipeline, read_settings
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
    targets = {photo: places[photo] for photo in mine}
    settings = read_settings()
    pipeline = load_pipeline(settings)
    options = settle(pipeline.styles, call.options)
    threads = pipeline.lanes(settings.threads or available_cores())
    work = run_bulk(pipeline, targets, source, options, threads=threads, again=call.again)
    return len(targets), work


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


def save_report(outcomes: list[Outcome], place: str) -> None:
    """Write the outcomes to a file, by its path or URL, in the format that its suffix names."""
    if not is_url(place):
        write_report(outcomes, Path(place))
        return
    from photo2cartoon.cli.objects import write_url  # noqa: PLC0415 - of the extra `objects`

    write_url(place, encode_report(outcomes, PurePosixPath(place).suffix.lower()))
