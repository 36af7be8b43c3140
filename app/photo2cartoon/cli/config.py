"""The commands for settings: `config show`."""

import json
from typing import Annotated

import typer

from photo2cartoon.cli.terminal import err, out, read_settings
from photo2cartoon.ground.config_file import find_config_file
from photo2cartoon.ground.origins import DEFAULT, describe_settings
from photo2cartoon.ground.settings import unknown_variables

commands = typer.Typer(no_args_is_help=True, help="Look at the settings that are in force.")


@commands.command()
def show(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show each setting, its value and where it comes from; secrets are hidden.

    Exit code: 0 shown, 2 a setting is wrong.
    """
    rows = describe_settings(read_settings())
    if as_json:
        facts = {row.name: {"value": row.value, "source": row.source} for row in rows}
        out.print(json.dumps(facts, indent=2, ensure_ascii=False), markup=False)
        return
    width = max(len(row.name) for row in rows)
    for row in rows:
        source = "" if row.source == DEFAULT else f"  ({row.source})"
        out.print(f"{row.name.ljust(width)}  {row.text}{source}".rstrip(), markup=False)
    out.print(f"\nconfiguration file: {find_config_file() or 'none'}", markup=False)
    if names := unknown_variables():
        err.print(f"no settings, ignored: {', '.join(names)}", markup=False)
