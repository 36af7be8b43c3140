"""The configuration file `photo2cartoon.toml`: where it is looked for, and how it is read."""

import os
from pathlib import Path
from tomllib import TOMLDecodeError

from pydantic_settings import BaseSettings, TomlConfigSettingsSource

FILE = "photo2cartoon.toml"
VARIABLE = "P2C_CONFIG"  # names another file


class ConfigFileError(ValueError):
    """The configuration file is missing or is no TOML; the message is one line that names it."""


def find_config_file() -> Path | None:
    """Return the file to read, or None where there is none.

    It is the one that `P2C_CONFIG` names, else `photo2cartoon.toml` in the current folder, else the
    one in the user's configuration folder; never more than one.
    """
    if named := os.environ.get(VARIABLE):
        return Path(os.path.expanduser(named))  # unlike Path's own, it also works without a home
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    places = (Path(FILE), Path(folder, "photo2cartoon", FILE))
    return next((place for place in places if place.is_file()), None)


def read_config_file(settings: type[BaseSettings]) -> TomlConfigSettingsSource:
    """Read the settings of the file; none where there is no file.

    Raises:
        ConfigFileError: the file cannot be read, or it is not TOML.
    """
    path = find_config_file()
    try:
        if path:
            path.open("rb").close()  # pydantic-settings passes over a file that is missing
        return TomlConfigSettingsSource(settings, path)
    except OSError as error:
        raise ConfigFileError(f"{path}: {error.strerror}") from error
    except (TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigFileError(f"{path}: this is no TOML: {error}") from error
