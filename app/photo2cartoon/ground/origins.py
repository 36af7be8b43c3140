"""Where each setting comes from: for messages about wrong ones, and for `config show`."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from photo2cartoon.ground.config_file import ConfigFileError, find_config_file, read_config_file
from photo2cartoon.ground.settings import Settings, closest_setting, set_variables, variable

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Stated:
    """One setting as it is in force.

    Attributes:
        name: as in the configuration file, such as `max_queue`.
        value: what JSON can hold; secrets are hidden.
        source: a variable, a file, or `default`.
    """

    name: str
    value: Any
    source: str

    @property
    def text(self) -> str:
        """The value as a variable would give it."""
        if isinstance(self.value, list):
            return ",".join(self.value)
        return "" if self.value is None else str(self.value)


def describe_settings(settings: Settings) -> list[Stated]:
    """Return every setting with its value and its origin, in the order of their definition."""
    values = settings.model_dump(mode="json")
    values["api_keys"] = [f"{key.partition(':')[0]}:***" for key in settings.api_keys]
    return [Stated(name, value, _source(name)) for name, value in values.items()]


def explain(error: ValidationError | ConfigFileError, flags: Collection[str] = ()) -> list[str]:
    """Return one line for each wrong setting: where it stands, its name, and what it must be.

    Args:
        error: what reading the settings raised.
        flags: the settings that the command line gave.
    """
    if isinstance(error, ConfigFileError):
        return [str(error)]
    return [_explain(problem, flags) for problem in error.errors()]


def _explain(problem: "ErrorDetails", flags: Collection[str]) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return message
    name, *place = str(problem["loc"][0]), *problem["loc"][1:]
    if problem["type"] == "extra_forbidden":
        meant = closest_setting(name)
        hint = f" (did you mean {meant}?)" if meant else ""
        return f"{find_config_file()}: {name} is no setting{hint}"
    items = [f"item {number + 1}" for number in place if isinstance(number, int)]
    return ": ".join([_place(name, flags), *items, message])


def _place(name: str, flags: Collection[str]) -> str:
    """Return what to correct: an option, a variable, or a key of the file."""
    if name in flags:
        return f"--{name.replace('_', '-')}"
    source = _source(name)
    return f"{source}: {name}" if source == str(find_config_file()) else source


def _source(name: str) -> str:
    for given in set_variables():
        if given.upper() == variable(name):
            return given
    if name in read_config_file(Settings).toml_data:
        return str(find_config_file())
    return DEFAULT
