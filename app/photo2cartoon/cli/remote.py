"""A service in the pipeline's place: what `run --server` draws on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from photo2cartoon.cli.fetching import told_what_to_install
from photo2cartoon.cli.terminal import err
from photo2cartoon.ground.errors import InvalidOption, Problem, Unauthorized
from photo2cartoon.ground.options import Options

if TYPE_CHECKING:
    from photo2cartoon.client import Client


class Remote:
    """Settles options and draws as a pipeline does, on a service."""

    def __init__(self, client: "Client", server: str) -> None:
        self._client = client
        self._server = server

    def settle(self, options: Options) -> Options:
        """Return `options` as they are, once the service's styles allow them.

        Raises:
            InvalidOption: there is no such style, or it does not draw whole photos.
            typer.Exit: the service does not answer.
        """
        try:
            styles = {style["name"]: style for style in self._client.styles()}
        except (Problem, OSError) as error:
            err.print(f"{self._server}: {error}", markup=False, style="red")
            raise typer.Exit(2) from error
        name = options.style or next(iter(styles))
        if name not in styles:
            raise InvalidOption(f"style must be one of: {', '.join(styles)}.")
        if options.compose not in styles[name]["compose"]:
            able = [name for name in styles if options.compose in styles[name]["compose"]]
            raise InvalidOption(
                f"compose={options.compose} needs another style: {', '.join(able) or 'none'}."
            )
        return options

    def cartoonize(self, photo: bytes, options: Options) -> list[bytes]:
        """Return the pictures of a photo, as the pipeline's `cartoonize` does.

        Raises:
            Problem: the service refuses the photo.
            OSError: the service does not answer.
            typer.Exit: the service wants an API key, or another one.
        """
        given = {**options.model_dump(exclude_unset=True), "format": options.file_format}
        try:
            cartoon = self._client.cartoonize(photo, **given)
        except Unauthorized as problem:
            err.print(f"{self._server}: {problem.title} (--api-key)", markup=False, style="red")
            raise typer.Exit(2) from problem
        except (ConnectionError, TimeoutError) as error:
            raise OSError(None, str(error), self._server) from error
        return [picture.data for picture in cartoon.pictures]


@contextmanager
def open_remote(server: str, api_key: str | None) -> Iterator[Remote]:
    """Give what draws on the service at `server`, and close its connections in the end.

    Raises:
        typer.BadParameter: `server` is not an address of HTTP.
        typer.Exit: the extra `client` is not installed; the message says so.
    """
    with told_what_to_install():
        from photo2cartoon.client import Client  # noqa: PLC0415 - an extra
    try:
        client = Client(server, api_key=api_key)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--server") from error
    with client:
        yield Remote(client, server)
