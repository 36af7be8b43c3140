"""Configuration: what a person may write, and what they are told when it is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from photo2cartoon_models.training.config import (
    CONFIGS,
    DEFAULT,
    ConfigError,
    FastConfig,
    PublishedConfig,
    load_config,
    parse_config,
)
from tests.places import ROOT


def test_every_shipped_file_is_right() -> None:
    kinds = {path.stem: type(load_config(path)) for path in CONFIGS.glob("*.yaml")}
    assert kinds == {
        "ugatit_photo2cartoon": PublishedConfig,
        "fast_photo2cartoon": FastConfig,
        "fast_lite": FastConfig,
        "gray_lite": FastConfig,
    }


def test_the_published_weights_are_the_published_ones() -> None:
    config = load_config(CONFIGS / "ugatit_photo2cartoon.yaml")
    assert isinstance(config, PublishedConfig)
    model, adam = config.model, config.optimizer.optimG
    weights = (model.adv_weight, model.cycle_weight, model.identity_weight, model.cam_weight)
    assert (*weights, model.faceid_weight) == (1, 50, 10, 1000, 1)
    assert (model.rho_clipper, model.w_clipper) == (1, 1)
    assert (config.lr_scheduler.learning_rate, adam.weight_decay) == (1e-4, 1e-4)
    assert (adam.beta1, adam.beta2) == (0.5, 0.999)
    assert config == parse_config({"recipe": "published", "output_dir": config.output_dir})


def test_fast_is_the_default() -> None:
    assert isinstance(parse_config({}), FastConfig)
    assert load_config(DEFAULT).recipe == "fast"


def test_overrides_reach_into_lists_and_are_yaml() -> None:
    config = load_config(
        DEFAULT, ["stages.0.batch_size=4", "face_id=a b.npz", "weights.content=1e-1"]
    )
    assert isinstance(config, FastConfig)
    assert config.stages[0].batch_size == 4
    assert config.stages[1].batch_size == 1
    assert config.face_id == Path("a b.npz")
    assert config.weights.content == 0.1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"recipe": "slow"}, "one of published, fast"),
        ({"weights": {"contents": 1}}, "weights.contents: unknown; there is: adversarial"),
        ({"stages": [{"size": 1}]}, "stages.0.size: unknown; there is: img_size"),
        ({"stages": []}, "stages"),
        ({"stages": [{"img_size": 100}]}, "multiple of 16"),
        ({"weights": {"content": -1}}, "weights.content"),
        ({"precision": "half"}, "bf16-mixed"),
        ({"model": {"features": [2]}}, "model.features"),
        ({"recipe": "published", "model": {"l1_criterion": {}}}, "take it out: L1, mean"),
        ({"recipe": "published", "dataset": {"train": {"preprocess": []}}}, "take it out"),
        ({"recipe": "published", "optimizer": {"optimG": {"net_names": []}}}, "both generators"),
        ("text", "a mapping"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(given: object, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(given)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed", "key=value"),
        ("sead=1", "no key 'sead'; there is: output_dir"),
        ("stages.3.img_size=64", "no key '3'; there is: 0, 1, 2"),
        ("seed.deeper=1", "no key 'deeper'"),
        ("seed=__import__('os').getcwd()", "seed"),  # a text, and a text is no seed
        ("seed=[1", "not YAML"),
    ],
)
def test_wrong_overrides_are_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(DEFAULT, [text])
    assert words in str(caught.value)


def test_a_file_that_is_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not text"):
        load_config(path)
    path.write_text("a: [")
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(path)


def test_a_configuration_that_comes_along_needs_only_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in CONFIGS.glob("*.yaml"):
        assert load_config(path.stem) == load_config(path)
    (tmp_path / "fast_lite").write_text("seed: 7")
    assert load_config("fast_lite").seed == 0
    assert load_config("./fast_lite").seed == 7
    with pytest.raises(ConfigError) as caught:
        load_config("fast_light")
    assert str(caught.value) == (
        "fast_light: cannot be read (No such file or directory); these come along: "
        "fast_lite, fast_photo2cartoon, gray_lite, ugatit_photo2cartoon"
    )


def test_every_key_is_explained() -> None:
    page = (ROOT / "docs" / "training.md").read_text()
    known = {
        name for kind in (PublishedConfig(recipe="published"), FastConfig()) for name in walk(kind)
    }
    explained = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", page))))
    assert known - explained == set()


def walk(section: BaseModel) -> Iterator[str]:
    """Names of all keys below a section."""
    for name, value in section:
        yield name
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, BaseModel):
                yield from walk(part)
