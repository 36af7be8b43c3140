"""Photos that are given as addresses: the command fetches them. The service never fetches any."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import typer

from photo2cartoon.cli.terminal import err

SCHEMES = ("http", "https")
REDIRECTS = 5
SILENCE_S, TOTAL_S = 15.0, 60.0  # how long an address may say nothing, and take in all


class NotFetchedError(OSError):
    """A photo that could not be fetched; `strerror` says why."""


@contextmanager
def told_what_to_install() -> Iterator[None]:
    """Say which extra is missing, and exit with 2."""
    try:
        yield
    except ImportError as error:
        hint = f"{error.name} is not installed: pip install 'photo2cartoon[client]'"
        err.print(hint, markup=False, style="red")
        raise typer.Exit(2) from error


def part_addresses(given: list[str]) -> tuple[list[Path], dict[Path, str]]:
    """Return photos as paths, and the addresses of those that have to be fetched.

    The path of an address is the name at its end, in this folder: its cartoon is named after it.

    Raises:
        typer.BadParameter: an address is neither http nor https, or is malformed.
    """
    photos: list[Path] = []
    addresses: dict[Path, str] = {}
    for text in given:
        scheme, colon, _ = text.partition("://")
        if not colon or Path(text).exists():
            photos.append(Path(text))
            continue
        if scheme.lower() not in SCHEMES:
            raise typer.BadParameter(
                f"only http and https are fetched: {text}", param_hint="PHOTOS"
            )
        try:
            photo = Path(_name_of(text))
        except ValueError as error:
            raise typer.BadParameter(f"{error}: {text}", param_hint="PHOTOS") from error
        photos.append(photo)
        addresses[photo] = text
    return photos, addresses


def _name_of(address: str) -> str:
    name = PurePosixPath(unquote(urlsplit(address).path)).name
    return name.replace("\0", "") or "photo"


def fetch(address: str, most_bytes: int) -> bytes:
    """Return what an address of http or https holds; redirects are followed, within both.

    Args:
        address: where the photo is.
        most_bytes: the largest photo that is taken, bytes.

    Raises:
        NotFetchedError: the address does not answer with a file, or not in time, or with more.
        typer.Exit: the extra `client` is not installed; the message says so.
    """
    with told_what_to_install():
        import httpx2  # noqa: PLC0415 - an extra
    end = time.monotonic() + TOTAL_S
    named = {"User-Agent": "photo2cartoon", "Accept": "image/*,*/*;q=0.5"}
    plain = {**named, "Accept-Encoding": "identity"}
    content = bytearray()
    try:
        with (
            httpx2.Client(follow_redirects=True, max_redirects=REDIRECTS, timeout=SILENCE_S) as web,
            web.stream("GET", address, headers=plain) as answer,
        ):
            if not answer.is_success:
                raise _refuse(f"The address answers {answer.status_code} {answer.reason_phrase}")
            for piece in answer.iter_bytes():
                content += piece
                if len(content) > most_bytes:
                    raise _refuse(f"The file has more than {most_bytes} bytes")
                if time.monotonic() > end:
                    raise _refuse(f"The file did not arrive within {TOTAL_S:.0f} s")
    except httpx2.UnsupportedProtocol as error:
        raise _refuse("The address leads to one that is neither http nor https") from error
    except httpx2.TimeoutException as error:
        raise _refuse(f"The address said nothing for {SILENCE_S:.0f} s") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _refuse(f"The address cannot be fetched: {error}") from error
    return bytes(content)


def _refuse(reason: str) -> NotFetchedError:
    return NotFetchedError(None, f"{reason}.")
