"""What the commands share: two consoles, a progress bar; settings and pipeline, or an exit."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from photo2cartoon.ground.config_file import ConfigFileError
from photo2cartoon.ground.origins import explain
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.time_limit import start_limit
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
    with told_in_one_line(), start_limit(settings):
        return open_pipeline(settings)


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Say why the models cannot be used, and exit with 2."""
    try:
        yield
    except (ManifestError, StartRefused) as error:
        err.print(str(error), markup=False, style="red")
        raise typer.Exit(2) from error


def read_settings(**flags: Any) -> Settings:
    """Read the settings, or say what is wrong with them and exit with 2.

    Args:
        flags: settings of the command line, which win; None is one that was not given.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except (ValidationError, ConfigFileError) as error:
        for line in explain(error, given):
            err.print(line, markup=False, style="red")
        raise typer.Exit(2) from error
