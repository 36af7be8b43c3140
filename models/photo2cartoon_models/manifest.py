"""The manifest: one entry per model file, with its contract, origin and digest.

A model file is only ever used through its entry, which says what the file must be (size, sha256),
what goes in and comes out (names, shapes, layout, colour order, range) and in which precision it
computes, so that nothing about a model has to be guessed from the file itself.
"""

import errno
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

MANIFEST_PATH = Path(__file__).parent / "manifest.json"

# Raises ManifestError if the content of the file at that path is not signed.
Check = Callable[[Path, bytes], None]
Colours = Literal["photo", "drawn"]
Portrait = Literal["composite", "cutout"]
Features = Literal["kept", "stressed"]
Views = Literal["one", "mirrored"]
Role = Literal["detector", "landmarks", "matte", "generator"]
Precision = Literal["float32", "float16"]


class ManifestError(Exception):
    """The manifest, or a model file that it names, is wrong; the message says how."""


@dataclass(frozen=True, slots=True)
class TensorContract:
    """One input or output of a model.

    Attributes:
        name: the tensor's name in the graph.
        dtype: numpy's name of the element type.
        shape: sizes; a string stands for a free size (`N` batch, `H` height, `W` width), and `*`
            for one that is not stated.
        layout: `NCHW` or `NHWC`; `-` if neither makes sense.
        colour: `RGB`; `-` if it is not a picture.
        range: smallest and largest meaningful value: black and white of a picture, background and
            person of a matte.
        meaning: one line in words, with units.
        channel: which channel counts, if there are several.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    layout: str
    colour: str
    range: tuple[float, float]
    meaning: str
    channel: int = 0

    @property
    def image_size(self) -> int | None:
        """Side of the square pictures, px; None if it is free."""
        side = self.shape[1 if self.layout == "NHWC" else -1]
        return side if isinstance(side, int) else None


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of the manifest.

    Attributes:
        colours: of a generator's pictures, where the caller does not choose: the photo's own, or
            as they were drawn.
        portrait: what a generator is fed: the portrait on white by the soft matte, or the
            `cutout`, whose outline is drawn afterwards.
        features: whether a generator is shown eyes and nose as they are, or more of them.
        views: what a matte network is shown: the square, or its mirror image as well; the mean of
            both answers is the matte.
        precision: of the arithmetic inside; inputs and outputs have their own `dtype`.
        golden: what the self test must give (`preprocess.summarise`), by output; None if it is not
            recorded, as for most operators' own models, or would mean nothing.
    """

    name: str
    role: Role
    path: Path
    sha256: str
    size_bytes: int
    licence: str
    source: str
    made_by: str
    inputs: tuple[TensorContract, ...]
    outputs: tuple[TensorContract, ...]
    style: str = "-"
    colours: Colours = "drawn"
    portrait: Portrait = "composite"
    features: Features = "kept"
    views: Views = "one"
    precision: Precision = "float32"
    golden: tuple[tuple[float, ...] | None, ...] | None = None

    @property
    def takes_any_size(self) -> bool:
        """Whether the sides of the pictures are free."""
        return self.inputs[0].image_size is None

    @property
    def image_size(self) -> int:
        """Side of the square pictures that the model takes, px.

        Raises:
            ManifestError: the entry leaves it free.
        """
        side = self.inputs[0].image_size
        if side is None:
            raise ManifestError(f"model {self.name}: the entry states no image size")
        return side

    def read_verified(self) -> bytes:
        """Read the file and return its content, checked against `size_bytes` and `sha256`.

        The content is returned, not just approved, so that exactly what was checked is loaded.

        Raises:
            ManifestError: the file is missing, or its size or digest differs from the entry.
        """
        try:
            content = _read_regular(self.path)
        except OSError as error:
            raise ManifestError(f"model {self.name}: cannot read {self.path}: {error}") from error
        digest = hashlib.sha256(content).hexdigest()
        if len(content) != self.size_bytes or digest != self.sha256:
            raise ManifestError(
                f"model {self.name}: {self.path} is not the file of the manifest: "
                f"{len(content)} bytes, sha256 {digest}; "
                f"expected {self.size_bytes} bytes, sha256 {self.sha256}"
            )
        return content


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """Weights that somebody else publishes: an address, not a file that comes along.

    Attributes:
        file: the name under which it is kept.
        url: where to fetch it, https.
        page: a page for people, in case the address fails.
        sha256: the file's digest; None if nobody has published it and nobody here has had the file.
        size_bytes: the file's size; None for the same reason.
        format: the format in words, and what to do before `conversion.convert` can read it.
        inputs: inputs of the ONNX file that it is converted into.
        outputs: outputs of that file.
    """

    name: str
    role: Role
    style: str
    file: str
    url: str
    page: str
    sha256: str | None
    size_bytes: int | None
    format: str
    licence: str
    source: str
    made_by: str
    inputs: tuple[TensorContract, ...]
    outputs: tuple[TensorContract, ...]


def load_published(path: Path = MANIFEST_PATH) -> dict[str, PublishedFile]:
    """Read the files of the manifest at `path` that can be downloaded.

    Raises:
        ManifestError: as `load_manifest`, or a file name points outside its folder.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8")).get("published", [])
        files = [PublishedFile(**_plain_fields(entry)) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"manifest {path}: {type(error).__name__}: {error}") from error
    by_name = {file.name: file for file in files}
    if len(by_name) != len(files):
        raise ManifestError(f"manifest {path}: a published name occurs twice")
    for file in files:
        if Path(file.file).name != file.file:
            raise ManifestError(f"manifest {path}: {file.file} is not a plain file name")
    return by_name


def load_manifest(path: Path = MANIFEST_PATH, check: Check | None = None) -> dict[str, Model]:
    """Read the manifest at `path`; file names in it are relative to its folder.

    Args:
        path: the manifest.
        check: refuses a manifest that is not signed; None takes any.

    Raises:
        ManifestError: it cannot be read, is not signed, misses a key, has an unknown key, states a
            precision or colours that do not exist, or names a model twice.
    """
    try:
        entries = _read_json(path, check)["models"]
        models = [_parse_model(entry, path.parent) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"manifest {path}: {type(error).__name__}: {error}") from error
    by_name = {model.name: model for model in models}
    if len(by_name) != len(models):
        raise ManifestError(f"manifest {path}: a model name occurs twice")
    return by_name


# What the file of an operator's generator does not say, and an entry beside it may.
UNSTATED: dict[str, Any] = {
    "precision": "float32",
    "colours": "drawn",
    "portrait": "composite",
    "features": "kept",
    "golden": None,
}


def _read_json(path: Path, check: Check | None) -> Any:
    """Return what a file says. What was checked is what is read: the file is opened once."""
    content = _read_regular(path)
    if check:
        check(path, content)
    return json.loads(content.decode())


def find_generator(
    manifest: dict[str, Model], asked: str | Path, check: Check | None = None
) -> Model:
    """Return the entry of a generator: one that comes along, or an operator's file.

    `NAME.json` beside an operator's `NAME.onnx` is its entry, as `load_model` reads it; `convert`
    writes one. Without it, the file is taken for a float32 generator of the contract that all
    photo2cartoon generators have, and its entry states the digest that it has now: that says which
    file answered, and that it did not change while it was loaded.

    Args:
        manifest: what comes along.
        asked: a name in it, or a file. A name wins; a file of the same name is `./NAME`.
        check: refuses an entry that is not signed, and with it a file that has none.

    Raises:
        ManifestError: it is no name of a generator and no file that can be read, or its own entry
            is malformed, not signed, or describes something else than a generator.
    """
    ours = {name: model for name, model in manifest.items() if model.role == "generator"}
    if str(asked) in ours:
        return ours[str(asked)]
    path = Path(asked)
    like = next(model for model in ours.values() if not model.takes_any_size)
    try:
        if (path.parent / f"{path.stem}.json").exists():
            return _check_generator(load_model(path, check), like)
        if check:
            raise ManifestError(f"{asked} is not signed: it has no entry {path.stem}.json")
        return replace(like, **operators_file(path), **UNSTATED)
    except OSError as error:
        raise ManifestError(
            f"generator: cannot read {asked}, which is none of {', '.join(ours)} either: {error}"
        ) from error


def _check_generator(model: Model, like: Model) -> Model:
    """Return `model` if it takes and gives the pictures that the generator `like` does."""

    def kinds(entry: Model) -> tuple[object, ...]:
        ends = (entry.inputs, entry.outputs)
        return entry.role, *([(t.dtype, t.layout, t.colour, t.range) for t in end] for end in ends)

    if kinds(model) != kinds(like):
        raise ManifestError(
            f"model {model.name}: its entry {model.path.with_suffix('.json')} is not that of a "
            "generator: float32 NCHW RGB, -1..1, in and out"
        )
    return model


def operators_file(path: Path) -> dict[str, Any]:
    """Return what an entry says of an operator's file, apart from role and contract.

    Raises:
        OSError: it cannot be read.
    """
    content = _read_regular(path)
    facts = {"path": path, "sha256": hashlib.sha256(content).hexdigest()}
    words = dict.fromkeys(("licence", "source", "made_by"), "the operator's")
    return {"name": path.stem, "size_bytes": len(content), **facts, **words}


def _read_regular(path: Path) -> bytes:
    """Read a file, but no device or pipe, which may have no end.

    Raises:
        OSError: it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.read_bytes()


def load_model(path: Path, check: Check | None = None) -> Model:
    """Read the entry of an operator's model: `NAME.json` beside `NAME.onnx`.

    It has the keys of an entry of the manifest; `file` may be missing, and counts for nothing: the
    entry is of the file beside it.

    Args:
        path: the ONNX file.
        check: refuses an entry that is not signed; None takes any.

    Raises:
        ManifestError: it cannot be read, is not signed, misses a key, has an unknown key, or states
            a precision or colours that do not exist.
    """
    contract = path.with_suffix(".json")
    try:
        entry = _read_json(contract, check)
        return _parse_model({**entry, "file": path.name}, path.parent)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"contract {contract}: {type(error).__name__}: {error}") from error


def _parse_model(entry: dict[str, Any], folder: Path) -> Model:
    fields = _plain_fields(entry)
    fields["path"] = folder / fields.pop("file")
    if golden := fields.get("golden"):
        fields["golden"] = tuple(tuple(numbers) for numbers in golden)
    model = Model(**fields)
    choices = {
        "precision": Precision,
        "colours": Colours,
        "portrait": Portrait,
        "features": Features,
        "views": Views,
    }
    for key, allowed in choices.items():
        if (value := getattr(model, key)) not in get_args(allowed):
            raise ValueError(f"{model.name}: {key} {value!r}")
    return model


def _plain_fields(entry: dict[str, Any]) -> dict[str, Any]:
    """Convert what both kinds of entry share: `bytes` gets its full name, contracts their type."""
    fields = dict(entry)
    fields["size_bytes"] = fields.pop("bytes")
    for side in ("inputs", "outputs"):
        fields[side] = tuple(_parse_tensor(tensor) for tensor in fields[side])
    return fields


def _parse_tensor(entry: dict[str, Any]) -> TensorContract:
    low, high = entry["range"]
    return TensorContract(**{**entry, "shape": tuple(entry["shape"]), "range": (low, high)})
