"""How long a run still takes, in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from photo2cartoon_models.train import main
from photo2cartoon_models.training.log import time_left
from tests.train import toy
from tests.train.toy import configured, into


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 min left"),
        (1, "1 min left"),
        (60, "1 min left"),
        (61, "2 min left"),
        (3_590, "1 h 00 min left"),
        (90_061, "25 h 02 min left"),
    ],
)
def test_minutes_are_rounded_up(seconds: float, words: str) -> None:
    assert time_left(seconds) == words


def test_each_line_says_how_long_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the steps that are left, or by the time budget where that ends sooner."""
    arguments = configured("fast", toy.make(tmp_path / "toy"), tmp_path)
    assert main([*arguments, *into(tmp_path / "whole")]) == 0
    told = re.findall(r"^step (\d)/6 .* steps/s, (\d+) min left: ", capsys.readouterr().out, re.M)
    assert told == [("2", "1"), ("4", "1"), ("6", "0")]
    long = ["-o", "stages.1.iterations=100000000", "log_config.interval=1"]
    limit = ["--max-minutes", "0.02"]
    assert main([*arguments, *into(tmp_path / "short"), *long, *limit]) == 0
    told = re.findall(r" steps/s, (.*) left: ", capsys.readouterr().out)
    assert set(told) in ({"1 min"}, {"1 min", "0 min"})


def test_a_misspelt_option_is_told_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(["--max-minuts", "3"])
    assert refusal.value.code == 2
    assert "unknown argument: --max-minuts (did you mean --max-minutes?)" in capsys.readouterr().err
