"""Watch: draw each photo that appears in a folder, until a signal says stop."""

import signal
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from photo2cartoon.cli.bulk import Outcome, plan_targets, run_bulk
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
    check_folders,
    read_options,
    say_failure,
    settle,
)
from photo2cartoon.cli.folders import count_words
from photo2cartoon.cli.terminal import load_pipeline, out, read_settings
from photo2cartoon.ground.formats import SUFFIXES
from photo2cartoon.ground.machine import available_cores
from photo2cartoon_models.files import find_photos

REST = 9  # times as long as a look takes: ten thousand photos take half a second

Mark = tuple[int, int, int]  # inode, size and time of change of a file


@dataclass(slots=True)
class Arrivals:
    """Tells which photos can be drawn: those that did not change between two looks.

    Attributes:
        seen: the photos of the last look.
        given: those that `look` has ever returned, as they were then.
    """

    seen: dict[Path, Mark] = field(default_factory=dict)
    given: dict[Path, Mark] = field(default_factory=dict)

    def look(self, photos: list[Path]) -> tuple[list[Path], list[Path]]:
        """Return the photos to draw: new ones, and ones that changed since they were returned."""
        now = {photo: mark for photo in photos if (mark := _mark(photo))}
        ready = [
            photo
            for photo, mark in now.items()
            if mark == self.seen.get(photo) and mark != self.given.get(photo)
        ]
        new = [photo for photo in ready if photo not in self.given]
        changed = [photo for photo in ready if photo in self.given]
        self.seen = now
        self.given |= {photo: now[photo] for photo in ready}
        return new, changed


def _mark(photo: Path) -> Mark | None:
    """Return what changes when the file does; None if it is gone."""
    try:
        state = photo.stat()
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns


def watch(
    source: Annotated[Path, typer.Argument(help="Folder of photos.", exists=True, file_okay=False)],
    target: Annotated[Path, typer.Argument(help="Folder for the cartoons.", file_okay=False)],
    style: Style = None,
    faces: Faces = "largest",
    on_no_face: OnNoFace = "error",
    compose: Compose = "portrait",
    size: Size = None,
    background: Background = None,
    colours: Colours = None,
    output_format: Format = None,
    quality: Quality = None,
    every: Annotated[
        float, typer.Option(min=0.05, help="Seconds between two looks at the folder.")
    ] = 1.0,
) -> None:
    """Draw each photo that appears in a folder, and those there that have no cartoon yet.

    A photo is drawn once it has not changed between two looks; if it changes later, it is drawn
    again. Ctrl-C or SIGTERM ends the command after the photos that are being drawn.

    Exit code: 0 ended by a signal, 2 the call itself is wrong.
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
    check_folders(source, target)
    settings = read_settings()
    pipeline = load_pipeline(settings)
    options = settle(pipeline.styles, options)
    threads = pipeline.lanes(settings.threads or available_cores())
    arrivals, statuses = Arrivals(), Counter[str]()

    def draw(photos: list[Path], places: dict[Path, Path], *, again: bool) -> None:
        targets = {photo: places[photo] for photo in photos}
        work = run_bulk(pipeline, targets, source, options, threads=threads, again=again)
        with closing(work):
            for outcome in work:
                statuses[outcome.status] += 1
                _say(outcome)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    out.print(f"watching {source}; Ctrl-C ends", markup=False)
    try:
        while True:
            start = time.monotonic()
            photos = _find(source, target)
            new, changed = arrivals.look(photos)
            pause = max(every, REST * (time.monotonic() - start))
            if new or changed:
                places = plan_targets(photos, source, target, SUFFIXES[options.file_format])
                draw(new, places, again=False)
                draw(changed, places, again=True)
            time.sleep(pause)
    except KeyboardInterrupt:
        words = count_words(statuses.elements(), ("done", "skipped", "failed"))
        out.print(f"{words}; {target}", markup=False)


def _find(source: Path, target: Path) -> list[Path]:
    try:
        return find_photos(source, outside=target)
    except OSError:  # a folder in it went away meanwhile: the next look tells
        return []


def _say(outcome: Outcome) -> None:
    if outcome.status == "failed":
        say_failure(outcome.photo, outcome.detail, outcome.code)
    elif outcome.status == "done":
        out.print(f"{outcome.photo}: done in {outcome.seconds:.1f} s", markup=False)
