"""Training data: turn photos, drawings and pairs into the folders that training reads.

    OUT/trainA, testA     photos as the generator sees them: aligned, matted, on white, 256 px PNG
    OUT/crops/...         the same squares with their background, the matte as the alpha channel
    OUT/trainB, testB     drawings as they are, transparency on white
    OUT/trainP, testP     pairs as they are: photo and cartoon side by side
    OUT/faces.jsonl       one line for each photo or pair: where eyes, mouth and face are
    OUT/skipped.csv       what was left out, and why

The photos go through the service's own pipeline, so training sees the mattes and crops that serving
will make, errors included. A second call prepares only what is missing.
"""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon.cli.folders import run_in_threads
from photo2cartoon.cli.terminal import shown
from photo2cartoon.ground.errors import InternalError, Problem
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.faces.facemesh import LIDS, Region, region_of_landmarks
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon_models.files import find_photos, write_file, write_whole
from photo2cartoon_models.preprocess import composite

Image = NDArray[np.uint8]
Kind = Literal["A", "B", "P"]

FACES, SKIPPED = "faces.jsonl", "skipped.csv"
# Contours of MediaPipe's canonical face mesh, by the names of its own drawing tables
# (mediapipe 0.10.21, face_mesh_connections.py); left and right in the picture.
CONTOURS = {
    "left_eye": LIDS[0],
    "right_eye": LIDS[1],
    "mouth": (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270,
              409),
    "oval": (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400,
             377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67,
             109),
}  # fmt: skip
# Where the face is in an aligned square: the box of the landmarks is 1/2.1 of it high, .8/2.1 from
# the top (`pipeline.alignment`); the mesh wants a margin (`pipeline.faces.facemesh.REGION_SCALE`).
FACE_CENTRE, FACE_SIDE = (0.5, 1.3 / 2.1), 1.5 / 2.1


@dataclass(frozen=True, slots=True)
class Item:
    """One picture to prepare.

    Attributes:
        kind: `A` photo, `B` drawing, `P` pair.
        source: the file.
        name: its path below the folder in which it was found; bytes that are no UTF-8 are escaped.
        target: the path of the result below OUT, such as `trainA/sub/name.png`.
    """

    kind: Kind
    source: Path
    name: str
    target: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """What became of one picture; `code` and `detail` say why it was left out."""

    item: Item
    status: Literal["done", "there", "skipped"]
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Split:
    """Which pictures are kept for testing.

    Attributes:
        share: the share of the photos, 0..1; a digest of the name chooses them.
        last_b: how many drawings, the last ones by name.
        last_p: how many pairs, the last ones by name.
        names: further pictures of any kind: paths below their folder, with or without suffix.
    """

    share: float = 0.05
    last_b: int = 0
    last_p: int = 0
    names: frozenset[str] = frozenset()

    def tests(self, kind: Kind, names: list[str]) -> set[str]:
        """Return those of `names` that are for testing."""
        listed = {n for n in names if n in self.names or str(Path(n).with_suffix("")) in self.names}
        if kind == "A":
            return listed | {name for name in names if _number(name) < self.share}
        # By the file's own name: drawings of a collection may lie in folders trainB and testB.
        by_name = sorted(names, key=lambda name: (Path(name).name, name))
        count = self.last_b if kind == "B" else self.last_p
        return listed | set(by_name[len(by_name) - count :])


def _number(name: str) -> float:
    """Map a name to 0..1, whatever other names there are."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def plan(folders: dict[Kind, Path], out: Path, split: Split) -> list[Item]:
    """Find the pictures and choose the place of each result."""
    items = []
    for kind, folder in folders.items():
        paths = find_photos(folder, outside=out)
        names = [shown(path.relative_to(folder).as_posix()) for path in paths]
        tests = split.tests(kind, names)
        stems = [str(Path(name).with_suffix("")) for name in names]
        twins = Counter(stems)
        for path, name, stem in zip(paths, names, stems, strict=True):
            place = stem if twins[stem] == 1 else name
            part = "test" if name in tests else "train"
            items.append(Item(kind, path, name, f"{part}{kind}/{place}.png"))
    return items


def prepare(
    pipeline: Pipeline, items: list[Item], out: Path, *, size: int, threads: int, again: bool
) -> Generator[Prepared, None, None]:
    """Prepare `items`; yields what earlier runs have done, then each result as it comes.

    Args:
        pipeline: the loaded pipeline.
        items: what `plan` found.
        out: the folder for everything.
        size: side of the squares, px.
        threads: how many pictures are prepared at the same time.
        again: whether to prepare again what is there, or was left out before.
    """
    with closing(_Journal(out, items, fresh=again)) as journal:
        missing = []
        for item in items:
            if before := journal.before(item):
                yield before
            else:
                missing.append(item)
        for result, line in run_in_threads(_Worker(pipeline, out, size).prepare, missing, threads):
            journal.note(result, line)
            yield result


class _Worker:
    """Prepares one picture at a time, on any thread."""

    def __init__(self, pipeline: Pipeline, out: Path, size: int) -> None:
        self.pipeline, self.out, self.size = pipeline, out, size
        self.mesh = pipeline.cropper.detector.mesh
        self.steps: dict[Kind, Callable[[Item, bytes], dict[str, Any] | None]] = {
            "A": self._photo,
            "B": self._drawing,
            "P": self._pair,
        }

    def prepare(self, item: Item) -> tuple[Prepared, dict[str, Any] | None]:
        """Return the outcome, and its line of `faces.jsonl`."""
        try:
            line = self.steps[item.kind](item, item.source.read_bytes())
        except (Problem, NotAPair) as problem:
            return Prepared(item, "skipped", problem.code, problem.detail), None
        except OSError as error:
            detail = error.strerror or "cannot be read or written"
            return Prepared(item, "skipped", "unreadable_file", detail), None
        except Exception as error:  # noqa: BLE001 - a bug must not cost the other pictures
            return Prepared(item, "skipped", InternalError.code, type(error).__name__), None
        return Prepared(item, "done"), line

    def _photo(self, item: Item, data: bytes) -> dict[str, Any] | None:
        _, (portrait,) = self.pipeline.prepare(data, Options(), Ticket(), self.size)
        crop = portrait.cut.crop.pixels
        matte = np.asarray(portrait.matte * 255 + 0.5, np.uint8)
        write_png(self.out / "crops" / item.target, np.dstack((crop, matte)))
        write_png(self.out / item.target, composite(crop, portrait.matte))
        return self._faces(item, crop)

    def _drawing(self, item: Item, data: bytes) -> None:
        write_png(self.out / item.target, decode_image(data, self.pipeline.cropper.max_pixels))

    def _pair(self, item: Item, data: bytes) -> dict[str, Any] | None:
        both = decode_image(data, self.pipeline.cropper.max_pixels)
        height, width = both.shape[:2]
        if width != 2 * height:
            raise NotAPair
        write_png(self.out / item.target, both)
        return self._faces(item, np.ascontiguousarray(both[:, :height]))

    def _faces(self, item: Item, square: Image) -> dict[str, Any]:
        """Find the parts of the face in an aligned square, px; in two passes, as detection does."""
        size = square.shape[0]
        region = Region(np.array(FACE_CENTRE) * size, FACE_SIDE * size, 0.0)
        points, _ = self.mesh.predict(square, region)
        points, score = self.mesh.predict(square, region_of_landmarks(points))
        places = {name: points[list(part)].round(1).tolist() for name, part in CONTOURS.items()}
        found = places if score >= 0.5 else None
        return {"picture": item.target, "photo": item.name, "size": size, "points": found}


class NotAPair(Exception):
    """A file that is not a pair; the service never meets one."""

    code = "not_a_pair"
    detail = "A pair is two squares side by side: the photo left, the cartoon right."


class _Journal:
    """What is done, on the disk: a line is written as soon as a picture is finished.

    The line is what counts: a picture without its line is not finished.
    """

    def __init__(self, out: Path, items: list[Item], *, fresh: bool) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.faces_path, self.skipped_path, self.out = out / FACES, out / SKIPPED, out
        again = {item.target for item in items} if fresh else set()
        self.faces = {k: v for k, v in self._read_faces().items() if k not in again}
        self.skipped = {k: v for k, v in self._read_skipped().items() if k not in again}
        self._write_faces()  # without a torn last line
        self._file = self.faces_path.open("a", encoding="utf-8")
        self._fresh = fresh

    def _read_faces(self) -> dict[str, dict[str, Any]]:
        if not self.faces_path.exists():
            return {}
        lines = {}
        for text in self.faces_path.read_text(encoding="utf-8").splitlines():
            # The last line may be torn: it was being written when the last run was killed.
            with suppress(ValueError, KeyError, TypeError):
                entry = json.loads(text)
                lines[entry["picture"]] = entry
        return lines

    def _read_skipped(self) -> dict[str, tuple[str, str, str]]:
        if not self.skipped_path.exists():
            return {}
        with self.skipped_path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            return {row["target"]: (row["photo"], row["code"], row["detail"]) for row in rows}

    def before(self, item: Item) -> Prepared | None:
        """Return what an earlier run made of `item`.

        What it made of it in the other part is removed: a picture is never in both.
        """
        other = item.target.replace("train", "test", 1)
        if item.target.startswith("test"):
            other = item.target.replace("test", "train", 1)
        for path in (self.out / other, self.out / "crops" / other):
            path.unlink(missing_ok=True)
        self.faces.pop(other, None)
        if item.target in self.skipped:
            _, code, detail = self.skipped[item.target]
            return Prepared(item, "skipped", code, detail)
        if self._fresh or not (self.out / item.target).exists():
            return None
        if item.kind == "B" or item.target in self.faces:
            return Prepared(item, "there")
        return None

    def note(self, result: Prepared, line: dict[str, Any] | None) -> None:
        if result.status == "skipped":
            self.skipped[result.item.target] = (result.item.name, result.code, result.detail)
        if line:
            self.faces[line["picture"]] = line
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Write both lists, in order."""
        self._file.close()
        self._write_faces()
        with write_whole(self.skipped_path, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("target", "photo", "code", "detail"))
            writer.writerows((target, *row) for target, row in sorted(self.skipped.items()))

    def _write_faces(self) -> None:
        with write_whole(self.faces_path, "w") as file:
            file.writelines(json.dumps(self.faces[name]) + "\n" for name in sorted(self.faces))


def write_png(path: Path, image: Image) -> None:
    """Write (H, W, 3) RGB or (H, W, 4) RGBA, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    order = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
    _, data = cv2.imencode(".png", cv2.cvtColor(image, order))
    write_file(path, data.tobytes())
