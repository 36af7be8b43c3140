"""The commands for model files, `models ...`: list, verify, sign, show, pull, build-engines."""

import json
import textwrap
import time
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from photo2cartoon.cli.terminal import err, out, read_settings, shown, told_in_one_line
from photo2cartoon.pipeline.opening import find_matte, find_styles, open_pipeline
from photo2cartoon.runtime.signature import SigningError, sign, signature_check
from photo2cartoon_models.manifest import (
    MANIFEST_PATH,
    ManifestError,
    Model,
    PublishedFile,
    TensorContract,
    load_manifest,
    load_published,
)

FACTS = (
    "name", "role", "style", "path", "file", "url", "page", "format", "size_bytes", "sha256",
    "licence", "source", "made_by",
)  # fmt: skip

LICENCE_WIDTH = 28  # of the beginning of a licence in the list, which fits 80 columns

commands = typer.Typer(
    no_args_is_help=True, help="Work with the model files that this project knows."
)


@commands.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Every fact, for programs.")] = False,
) -> None:
    """List the models that come along and those that can be pulled."""
    entries: list[Model | PublishedFile] = [*load_manifest().values()]
    entries += load_published().values()
    if as_json:
        facts = [_facts(entry) for entry in entries]
        out.print(json.dumps(facts, indent=2, ensure_ascii=False), markup=False)
        return
    rows = [("name", "for", "size", "", "licence")]
    for entry in entries:
        size = f"{entry.size_bytes / 1e6:.1f} MB" if entry.size_bytes else "unknown"
        state = "included" if isinstance(entry, Model) else "to pull"
        licence = textwrap.shorten(entry.licence, LICENCE_WIDTH, placeholder=" ...")
        rows.append((entry.name, entry.role, size, state, licence))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        out.print("  ".join(cells).rstrip(), markup=False)
    out.print("\n`photo2cartoon models show NAME` says everything about one of them.", markup=False)


def _facts(entry: Model | PublishedFile) -> dict[str, object]:
    facts = {key: getattr(entry, key) for key in FACTS if hasattr(entry, key)}
    texts = {key: str(value) if isinstance(value, Path) else value for key, value in facts.items()}
    return texts | {"included": isinstance(entry, Model)}


@commands.command()
def verify() -> None:
    """Check every file that comes along, or that the settings name, against its entry.

    With P2C_MANIFEST_KEY, the signatures of the manifest and of your own entries are checked first.

    Exit code: 0 all are as stated, 1 one differs, 2 a setting does not fit.
    """
    settings = read_settings()
    with told_in_one_line():
        check = signature_check(settings.manifest_key)
    try:
        manifest = load_manifest(check=check)
        own = find_styles(manifest, (settings.generator, *settings.styles), check)
        models = {model.path: model for model in (*manifest.values(), *own)}
        matte = find_matte(settings, manifest, check)
    except ManifestError as error:
        err.print(str(error), markup=False)
        raise typer.Exit(1) from error
    if check:
        out.print("signatures: ok", markup=False)
    failed = False
    for model in (models | {matte.path: matte}).values():
        try:
            model.read_verified()
            out.print(f"{model.name}: ok", markup=False)
        except ManifestError as error:
            failed = True
            err.print(str(error), markup=False)
    if failed:
        raise typer.Exit(1)


@commands.command("sign")
def sign_file(
    manifest: Annotated[
        Path | None,
        typer.Argument(help="A manifest, or NAME.json of a model of yours. [what comes along]"),
    ] = None,
    *,
    key: Annotated[
        Path, typer.Option(metavar="FILE", help="Ed25519 private key, PEM, without a password.")
    ],
) -> None:
    """Sign a manifest: its signature is written beside it, as MANIFEST.sig.

    Exit code: 0 signed, 2 a file or the key is not what it has to be, or cryptography is missing.
    """
    try:
        with told_in_one_line():
            place, public = sign(manifest or MANIFEST_PATH, key)
    except SigningError as error:
        err.print(str(error), markup=False)
        raise typer.Exit(2) from error
    out.print(f"{shown(place)}\nP2C_MANIFEST_KEY={public}", markup=False)


@commands.command()
def show(name: str) -> None:
    """Show everything that the manifest states about one file."""
    entry = _find_entry(name)
    for key in FACTS:
        if hasattr(entry, key):
            out.print(f"{key}: {getattr(entry, key) or 'unknown'}", markup=False)
    for side, tensors in (("input", entry.inputs), ("output", entry.outputs)):
        for tensor in tensors:
            out.print(f"{side}: {_contract(tensor)}", markup=False)


def _contract(tensor: TensorContract) -> str:
    shape = ", ".join(map(str, tensor.shape))
    low, high = tensor.range
    words = (f"{tensor.dtype} ({shape})", tensor.layout, tensor.colour, f"{low:g}..{high:g}")
    return f"{tensor.name} {' '.join(word for word in words if word != '-')}: {tensor.meaning}"


def _find_entry(name: str) -> Model | PublishedFile:
    entries: dict[str, Model | PublishedFile] = {**load_manifest(), **load_published()}
    if name not in entries:
        meant = get_close_matches(name, entries, 1)
        hint = f"did you mean {meant[0]}?" if meant else f"there are: {', '.join(entries)}"
        raise typer.BadParameter(f"no model is called {shown(name)}; {hint}", param_hint="NAME")
    return entries[name]


@commands.command("build-engines")
def build_engines() -> None:
    """Build TensorRT's engines before the service starts: P2C_PROVIDER=tensorrt, P2C_ENGINE_CACHE.

    Exit code: 0 they are there, 2 a setting, a model or this machine does not fit.
    """
    settings = read_settings()
    if settings.provider != "tensorrt":
        err.print(f"P2C_PROVIDER={settings.provider} has no engines: set P2C_PROVIDER=tensorrt")
        raise typer.Exit(2)
    start = time.monotonic()
    with told_in_one_line():
        open_pipeline(settings).close()
    took = time.monotonic() - start
    out.print(f"{settings.engine_cache.resolve()}: ready after {took:.0f} s", markup=False)


@commands.command("pull")
def pull_model(
    name: str,
    folder: Annotated[Path, typer.Option(help="Folder for the file.")] = Path("data/weights"),
) -> None:
    """Download weights that somebody else publishes.

    Exit code: 0 they are there, 1 they cannot be had, 2 no such name.
    """
    entry = _find_entry(name)
    if isinstance(entry, Model):
        out.print(f"{name} comes along: {entry.path}", markup=False)
        return
    from photo2cartoon_models.pull import PullError, pull  # noqa: PLC0415 - serving has nothing to fetch

    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    try:
        with Progress(*columns, console=err, transient=True) as bar:
            task = bar.add_task(name, total=None)
            done = pull(entry, folder, lambda n, total: bar.update(task, completed=n, total=total))
    except PullError as error:
        err.print(str(error), markup=False)
        raise typer.Exit(1) from error
    state = "verified" if done.verified else "unverified: the manifest knows no sha256"
    out.print(f"{done.path}\nsha256 {done.sha256} ({state})\n{entry.made_by}", markup=False)
