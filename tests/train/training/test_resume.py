"""From the command line: a run that was stopped ends as one that was not, to the bit."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from photo2cartoon_models.readers import apart
from photo2cartoon_models.train import main
from photo2cartoon_models.training.checkpoint import ResumeError, read_run
from tests.places import ROOT
from tests.train import toy
from tests.train.files import bomb
from tests.train.toy import configured, into


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make(tmp_path_factory.mktemp("toy"))


@pytest.fixture(params=["published", "fast"])
def arguments(request: pytest.FixtureRequest, data: Path, tmp_path: Path) -> list[str]:
    """`train`, on a toy configuration."""
    return configured(request.param, data, tmp_path)


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Everything in a checkpoint by its way through dictionaries and lists."""
    if isinstance(value, dict):
        value = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, list | tuple):
        value = [(str(key), part) for key, part in enumerate(value)]
    else:
        return {name: value}
    return {k: v for key, part in value for k, v in flat(part, f"{name}/{key}").items()}


def assert_same(one: Path, other: Path) -> None:
    states = [flat(read_run(path)) for path in (one, other)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        if name.endswith("output_dir"):
            continue
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, states[1][name]), name
        else:
            assert value == states[1][name], name


def test_a_run_leaves_what_it_promises(arguments: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main([*arguments, *into(run)]) == 0
    kept = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert kept == ["last.pt", "step_0000004.pt", "step_0000006.pt"]
    samples = {path.name for path in (run / "samples").iterdir()}
    assert {"A2B_0000004.png", "A2B_0000006.png"} <= samples
    assert list((run / "tensorboard").glob("events*"))
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    assert all(float(row["g"]) == float(row["g"]) for row in rows)
    assert yaml.safe_load((run / "config.yaml").read_text())["output_dir"] == str(run)


def test_stopped_and_resumed_is_unbroken(arguments: list[str], tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main([*arguments, *into(whole)]) == 0
    # Killed after four steps: the checkpoint is of the third, the metrics know the fourth.
    program = (
        "import os, sys, photo2cartoon_models.training.loop as loop\n"
        "from photo2cartoon_models.train import main\n"
        "after = loop._Steps._after\n"
        "def die(self, step, last):\n"
        "    after(self, step, last)\n"
        "    if step == 4: os.kill(os.getpid(), 9)\n"
        "loop._Steps._after = die\n"
        "main(sys.argv[1:])\n"
    )
    overrides = ["-o", "snapshot_config.keep_interval=100"]
    command = [sys.executable, "-c", program, *arguments, *into(broken), *overrides]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert read_run(broken / "checkpoints" / "last.pt")["training"]["step"] == 3
    assert main([*arguments, *into(broken), "--resume", "auto"]) == 0
    assert_same(whole / "checkpoints" / "last.pt", broken / "checkpoints" / "last.pt")
    with (broken / "metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "4", "6"]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_with_a_checkpoint_of_that_step(
    data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    arguments = configured("fast", data, tmp_path)
    run = tmp_path / "run"
    command = [sys.executable, "-u", "-m", "photo2cartoon_models.train", *arguments, *into(run),
               "-o", "stages.1.iterations=100000", "-o", "log_config.interval=1"]  # fmt: skip
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("step 4/"):
                process.send_signal(number)
                break
        rest = process.stdout.read()
        assert process.wait() == 143
    assert "told to stop after step" in rest
    step = read_run(run / "checkpoints" / "last.pt")["training"]["step"]
    assert f"told to stop after step {step};" in rest
    assert 4 <= step < 1000
    with (run / "metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)][-1] == str(step)


def test_a_spent_budget_ends_with_a_checkpoint(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = configured("fast", data, tmp_path)
    code = main([*arguments, *into(tmp_path / "run"), "--max-minutes", "0.001",
                 "-o", "stages.1.iterations=100000"])  # fmt: skip
    assert code == 0
    assert "time is up after step 1;" in capsys.readouterr().out


def test_another_run_is_not_written_over(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*configured("fast", data, tmp_path), *into(tmp_path / "run")]
    short = ["-o", "stages.0.iterations=1", "stages.1.iterations=1"]
    assert main([*arguments, *short, "--resume", "auto"]) == 0  # nothing there yet
    before = (tmp_path / "run" / "checkpoints" / "last.pt").read_bytes()
    assert main([*arguments, *short]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert (tmp_path / "run" / "checkpoints" / "last.pt").read_bytes() == before
    # The checkpoint knows its own configuration.
    assert main(["--resume", str(tmp_path / "run" / "checkpoints" / "last.pt"),
                 "--accelerator", "cpu"]) == 0  # fmt: skip
    assert "nothing to do: all 2 steps are done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "not a checkpoint"), (b"PK\x03\x04 no", "not a checkpoint")]
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(ResumeError, match=words):
        read_run(path)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Bad:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.system, (f"touch {tmp_path / 'ran'}",))

    path = tmp_path / "bad.pt"
    torch.save({"training": Bad()}, path)
    with pytest.raises(ResumeError, match="not a checkpoint"):
        read_run(path)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    tensors = {
        "scalar": torch.tensor(2.5),
        "none": torch.zeros(0, 3),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "flags": torch.tensor([True, False]),
        "half": torch.randn(3).half(),
        "brain": torch.randn(2, 3).bfloat16(),
        "double": torch.randn(2, dtype=torch.float64),
    }
    optimiser = {"state": {0: tensors}, "param_groups": [{"betas": (0.5, 0.999), "x": None}]}
    run = {"format": 1, "step": 3, "optimisers": {"g": optimiser}, "python": [3, [2**32 - 1]]}
    state = {"genA2B": {"w": torch.randn(2, 2, requires_grad=True)}, "training": run}
    path = tmp_path / "x.pt"
    torch.save(state, path)
    read = read_run(path)
    expected, found = flat(state), flat(read)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert found[name].dtype == value.dtype, name
            assert torch.equal(found[name], value), name
        else:
            assert found[name] == value, name
    groups = read["training"]["optimisers"]["g"]
    assert groups["param_groups"][0]["betas"] == (0.5, 0.999)
    assert list(groups["state"]) == [0]


def test_what_harms_its_reader_is_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read in a process of its own, which has limits: a file of 3 MB that unpacks to 640 MiB."""
    monkeypatch.setattr(apart, "MEMORY_BYTES", 2**28)
    with pytest.raises(ResumeError, match=r"bomb\.pt: (not a checkpoint|refused)"):
        read_run(bomb(tmp_path / "bomb.pt"))
    path = tmp_path / "deep.pt"
    inner: list[Any] = []
    state = {"training": {"format": 1, "deep": inner}}
    inner.append(inner)  # without end
    torch.save(state, path)
    with pytest.raises(ResumeError, match="not a checkpoint: too deep"):
        read_run(path)
    torch.save({"training": {"format": 1, "other": 1j}}, path)
    with pytest.raises(ResumeError, match="not a checkpoint: it holds a complex"):
        read_run(path)


def test_weights_alone_are_no_run(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"genA2B": {"x": torch.zeros(1)}}, path)
    with pytest.raises(ResumeError, match="--load"):
        read_run(path)
    with pytest.raises(ResumeError, match="cannot be read"):
        read_run(tmp_path / "none.pt")


def test_another_network_cannot_go_on(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*configured("fast", data, tmp_path), *into(tmp_path / "run")]
    assert main([*arguments, "-o", "stages.0.iterations=1", "stages.1.iterations=1"]) == 0
    assert main([*arguments, "--resume", "auto", "-o", "model.generator.ngf=8"]) == 2
    assert "of another network" in capsys.readouterr().err
