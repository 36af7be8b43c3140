"""The command line: `photo2cartoon serve`, `run`, `bulk`, `train`, `doctor` and more."""

from pathlib import Path
from typing import Annotated

import typer

from photo2cartoon import __version__
from photo2cartoon.cli import config
from photo2cartoon.cli import models as model_files
from photo2cartoon.cli.bulk_command import bulk
from photo2cartoon.cli.compare import compare
from photo2cartoon.cli.doctor import main as examine_and_show
from photo2cartoon.cli.photos import run
from photo2cartoon.cli.terminal import out, read_settings, told_in_one_line
from photo2cartoon.cli.training import convert, evaluate, prepare_data, train
from photo2cartoon.cli.watch import watch
from photo2cartoon.ground.settings import LogLevel, Provider, Settings, variable

commands = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        out.print(__version__, markup=False)
        raise typer.Exit


@commands.callback()
def photo2cartoon(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """A portrait photo in, a cartoon of that person out."""


def _describe(name: str) -> str:
    return f"{Settings.model_fields[name].description} [{variable(name)}]"


@commands.command()
def serve(
    host: Annotated[str | None, typer.Option(help=_describe("host"))] = None,
    port: Annotated[int | None, typer.Option(help=_describe("port"))] = None,
    style: Annotated[Path | None, typer.Option(help=_describe("generator"))] = None,
    provider: Annotated[Provider | None, typer.Option(help=_describe("provider"))] = None,
    threads: Annotated[int | None, typer.Option(help=_describe("threads"))] = None,
    log_level: Annotated[LogLevel | None, typer.Option(help=_describe("log_level"))] = None,
) -> None:
    """Serve HTTP; `photo2cartoon config show` lists the settings that have no option here.

    An option wins over its P2C_* variable, and that over the file photo2cartoon.toml.

    Exit code: 0 stopped by a signal, 2 a setting, a model or this machine does not fit.
    """
    from photo2cartoon.api.server import serve as serve_http  # noqa: PLC0415 - `run` needs no web framework

    settings = read_settings(
        host=host,
        port=port,
        generator=style,
        provider=provider,
        threads=threads,
        log_level=log_level,
    )
    with told_in_one_line():
        serve_http(settings)


@commands.command()
def doctor() -> None:
    """Find what is wrong with this machine, installation and settings, and what to do about it.

    Exit code: 0 nothing is wrong, 1 something is.
    """
    raise typer.Exit(examine_and_show())


commands.command()(run)
commands.command()(bulk)
commands.command()(watch)
commands.command("prepare-data")(prepare_data)
commands.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)(train)
commands.command()(convert)
commands.command()(evaluate)
commands.command()(compare)
commands.add_typer(config.commands, name="config")
commands.add_typer(model_files.commands, name="models")


def main() -> None:
    """Entry point of the console script."""
    commands(prog_name="photo2cartoon")
