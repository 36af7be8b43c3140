"""What the commands share: two consoles, a progress bar; settings and pipeline, or an exit."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from photo2cartoon.ground.errors import InvalidOption
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings, explain
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon.runtime.checks import StartRefused
from photo2cartoon_models.manifest import ManifestError

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def shown(path: str | os.PathLike[str]) -> str:
    r"""Return a name for people and reports; bytes that are no UTF-8 become `\xNN`."""
    return os.fsencode(path).decode(errors="backslashreplace")


def count_up() -> Progress:
    """Return a progress bar that counts pieces, on the standard error."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    return Progress(*columns, TimeRemainingColumn(), console=err)


def load_pipeline(settings: Settings) -> Pipeline:
    """Open the pipeline, or say why it cannot be opened and exit with 2."""
    with told_in_one_line():
        return open_pipeline(settings)


def settle(pipeline: Pipeline, options: Options) -> Options:
    """Return `options` with a style that is loaded, or say which ones are and exit with 2."""
    try:
        return pipeline.styles.settle(options)
    except InvalidOption as problem:
        raise typer.BadParameter(problem.detail) from problem


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Say why the models cannot be used, and exit with 2."""
    try:
        yield
    except (ManifestError, StartRefused) as error:
        err.print(str(error), markup=False, style="red")
        raise typer.Exit(2) from error


def read_settings() -> Settings:
    """Read the settings from the environment, or say what is wrong with them and exit with 2."""
    try:
        return Settings()
    except ValidationError as error:
        for line in explain(error):
            err.print(line, markup=False, style="red")
        raise typer.Exit(2) from error
