"""Signature: a manifest, or an operator's entry, is what the holder of a key signed (Ed25519).

The signature of `FILE` stands in `FILE.sig`, in base64. It covers every byte of the file, which in
turn states the sha256 of each model file, so that with a key nothing unsigned is ever loaded.
`cryptography` (the extra `signing`) is imported only where a key is set.
"""

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING

from photo2cartoon.runtime.checks import Finding, StartRefused
from photo2cartoon_models.files import write_file
from photo2cartoon_models.manifest import Check, ManifestError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SUFFIX = ".sig"
KEY_BYTES = 32
LONGEST = 10_000  # bytes of a key or a signature in a file; what is longer is neither
INSTALL = "pip install 'photo2cartoon[signing]', or --require-hashes -r requirements/signing.txt"


class SigningError(Exception):
    """A file cannot be signed; the message is one line that says why."""


def signature_check(key: str | None) -> Check | None:
    """Return what refuses a file that is not signed; None where no key is set.

    Args:
        key: `P2C_MANIFEST_KEY`, an Ed25519 public key: its 32 bytes in base64, or a file in PEM.

    Raises:
        StartRefused: it is no such key, or `cryptography` is not installed.
    """
    if key is None:
        return None
    public = _read_public_key(key)
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - where a key is set

    def check(path: Path, content: bytes) -> None:
        place = path.with_name(path.name + SUFFIX)
        try:
            signature = base64.b64decode(_read_short(place).strip(), validate=True)
            public.verify(signature, content)
        except OSError as error:
            raise ManifestError(f"{path} is not signed: {place}: {error.strerror}") from error
        except (InvalidSignature, binascii.Error) as error:
            reason = f"{place.name} is no signature of it by P2C_MANIFEST_KEY"
            raise ManifestError(f"{path} is not what was signed: {reason}") from error

    return check


def sign(path: Path, key_file: Path) -> tuple[Path, str]:
    """Write the signature of a manifest or an entry beside it.

    Args:
        path: the file.
        key_file: an Ed25519 private key, PEM (PKCS 8), without a password.

    Returns:
        The signature's file, and the public key as `P2C_MANIFEST_KEY` takes it.

    Raises:
        SigningError: a file cannot be read or written, or the key is none.
        StartRefused: `cryptography` is not installed.
    """
    private = _read_private_key(key_file)
    place = path.with_name(path.name + SUFFIX)
    try:
        signature = private.sign(path.read_bytes())
        write_file(place, base64.b64encode(signature) + b"\n")
    except OSError as error:
        raise SigningError(f"{error.filename or place}: {error.strerror}") from error
    return place, base64.b64encode(private.public_key().public_bytes_raw()).decode()


def _read_public_key(key: str) -> "Ed25519PublicKey":
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415
    except ImportError as error:
        raise _not_installed("P2C_MANIFEST_KEY") from error
    try:
        raw = base64.b64decode(key, validate=True)
    except ValueError:
        raw = b""
    try:
        if len(raw) == KEY_BYTES:
            return ed25519.Ed25519PublicKey.from_public_bytes(raw)
        public = load_pem_public_key(_read_short(Path(key)))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a public key in PEM"
        raise _no_key(key, str(reason)) from error
    if not isinstance(public, ed25519.Ed25519PublicKey):
        raise _no_key(key, "a key of another kind")
    return public


def _read_private_key(path: Path) -> "Ed25519PrivateKey":
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415
    except ImportError as error:
        raise _not_installed("signing") from error
    try:
        private = load_pem_private_key(_read_short(path), password=None)
    except OSError as error:
        raise SigningError(f"{path}: {error.strerror}") from error
    except TypeError as error:
        raise SigningError(f"{path}: the key has a password, and must have none") from error
    except ValueError as error:
        raise SigningError(f"{path}: not a private key in PEM") from error
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        raise SigningError(f"{path}: a key of another kind than Ed25519")
    return private


def _read_short(path: Path) -> bytes:
    """Read the beginning of a file: a key and a signature are short, and a device has no end."""
    with path.open("rb") as file:
        return file.read(LONGEST)


def _not_installed(what: str) -> StartRefused:
    return StartRefused(Finding(f"{what} needs the package cryptography", INSTALL))


def _no_key(key: str, reason: str) -> StartRefused:
    wanted = "give an Ed25519 public key: its 32 bytes in base64, or a file in PEM"
    return StartRefused(Finding(f"P2C_MANIFEST_KEY={key}: {reason}", wanted))
