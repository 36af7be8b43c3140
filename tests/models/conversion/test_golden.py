"""The self test's input and summary, and the command that writes them down."""

import json
from pathlib import Path

import numpy as np
import pytest

from photo2cartoon_models.conversion.golden import write_golden
from photo2cartoon_models.manifest import MANIFEST_PATH, load_manifest
from photo2cartoon_models.preprocess import GOLDEN_NUMBERS, probe_input, summarise


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("size", [128, 256, 384])
def test_the_probe_is_a_drawn_head_at_every_size(layout: str, size: int) -> None:
    shape = ("N", 3, size, size) if layout == "NCHW" else ("N", size, size, 3)
    probe = probe_input(shape, layout, (-1, 1))
    picture = probe[0].transpose(1, 2, 0) if layout == "NCHW" else probe[0]
    assert probe.dtype == np.float32
    assert picture.shape == (size, size, 3)
    assert picture[0, 0].tolist() == pytest.approx([1, 1, 1])  # white around
    red, green, blue = (picture[size // 2, size // 2] + 1) * 127.5
    assert (round(red), round(green), round(blue)) == (220, 180, 150)  # the face


def test_free_sizes_are_filled_in() -> None:
    assert probe_input(("N", 3, "H", "W"), "NCHW", (0, 1)).shape == (1, 3, 256, 256)


def test_a_summary_is_the_means_of_the_parts() -> None:
    output = np.arange(GOLDEN_NUMBERS * 10, dtype=np.float32).reshape(1, -1)
    assert summarise(output).tolist() == [4.5 + 10 * part for part in range(GOLDEN_NUMBERS)]
    assert summarise(np.array([[7]], np.float32)).tolist() == [7]


def test_writing_keeps_everything_else(tmp_path: Path) -> None:
    (tmp_path / "weights").symlink_to(MANIFEST_PATH.parent / "weights")
    written = json.loads(MANIFEST_PATH.read_text())
    expected = json.dumps(written)
    for entry in written["models"]:
        del entry["golden"]
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(written))
    write_golden(path)
    again = json.loads(path.read_text())
    for entry in again["models"]:
        assert len(entry["golden"]) == len(entry["outputs"])
    assert load_manifest(path).keys() == load_manifest().keys()
    for entry, old in zip(again["models"], json.loads(expected)["models"], strict=True):
        assert {**entry, "golden": 0} == {**old, "golden": 0}
