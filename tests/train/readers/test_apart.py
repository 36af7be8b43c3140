"""Weight files are read in a process of their own: what becomes of those that are made to harm."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from photo2cartoon.cli.main import commands
from photo2cartoon_models.readers import apart, weights
from photo2cartoon_models.readers.weights_error import WeightsError
from tests.train import files, nets

Answer = tuple[dict[str, Any], dict[str, NDArray[Any]]]


def crash(_: Path) -> Answer:
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}, {}


def spin(_: Path) -> Answer:
    while True:
        pass


def devour(_: Path) -> Answer:
    return {}, {"ones": np.ones(2**30, np.uint8)}


def answer(path: Path, more: str) -> Answer:
    facts = {"text": path.read_text(), "more": more, "process": os.getpid()}
    return facts, {"a": np.arange(6, dtype=np.int16).reshape(2, 3), "b": np.empty((0, 2), bool)}


def raise_objects(_: Path) -> Answer:
    return {}, {"objects": np.array([object()])}


def test_facts_and_arrays_come_back_from_another_process(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("content")
    facts, arrays = apart.call(answer, path, "more")
    assert facts.pop("process") != os.getpid()
    assert facts == {"text": "content", "more": "more"}
    np.testing.assert_array_equal(arrays["a"], [[0, 1, 2], [3, 4, 5]], strict=False)
    assert arrays["a"].dtype == np.int16
    assert arrays["b"].shape == (0, 2)


@pytest.mark.parametrize(
    ("work", "limits", "says"),
    [
        (crash, {}, "SIGSEGV"),
        (spin, {"cpu_s": 1}, "more than 1 s of a processor"),
        (devour, {"memory_bytes": 2**29}, "more memory than a file of its size should"),
        (raise_objects, {}, "broken or hostile"),
    ],
)
def test_harm_ends_the_reader_alone(work: apart.Work, limits: dict[str, int], says: str) -> None:
    with pytest.raises(WeightsError, match=says):
        apart.call(work, Path("none"), **limits)


def test_a_bomb_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "MEMORY_BYTES", 2**28)
    path = files.bomb(tmp_path / "bomb.pt")
    done = CliRunner().invoke(commands, ["convert", str(path), str(tmp_path / "out.onnx")])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{path}: ")
    assert list(tmp_path.iterdir()) == [path]


def test_weights_and_networks_are_those_of_the_readers(tmp_path: Path) -> None:
    net, other = nets.generator(ngf=8), nets.generator(seed=9, ngf=8)
    path = tmp_path / "net.pt"
    torch.save({"genA2B": files.minivision(net), "genB2A": files.minivision(other)}, path)
    mine, theirs = apart.read_weights(path, "genB2A"), weights.read_weights(path, "genB2A")
    assert mine.tensors.keys() == theirs.tensors.keys()
    for name, tensor in mine.tensors.items():
        np.testing.assert_array_equal(tensor, theirs.tensors[name])
    assert (mine.notes, mine.format, mine.sha256) == (theirs.notes, theirs.format, theirs.sha256)
    networks = apart.read_networks(path)
    assert networks.keys() == {"genA2B", "genB2A"}
    for name, value in other.state_dict().items():
        torch.testing.assert_close(networks["genB2A"][name], value, rtol=0, atol=0)
