"""One typed model of options."""

import pytest
from pydantic import ValidationError

from photo2cartoon.ground.errors import InvalidOption
from photo2cartoon.ground.options import Options, parse_options


def test_defaults() -> None:
    options = Options()
    assert (options.faces, options.compose, options.colour) == ("largest", "portrait", (255,) * 3)
    assert not options.transparent


@pytest.mark.parametrize(
    ("background", "colour"),
    [(None, (255, 255, 255)), ("white", (255, 255, 255)), ("#0a80FF", (10, 128, 255))],
)
def test_background_colours(background: str | None, colour: tuple[int, int, int]) -> None:
    assert Options(background=background).colour == colour


def test_text_is_read_as_over_http() -> None:
    options = parse_options({"faces": "2", "quality": "80", "format": "webp", "size": "512"})
    assert (options.faces, options.quality, options.size) == (2, 80, 512)


@pytest.mark.parametrize("background", ["#12345", "#1234567", "#gggggg", "Transparent", " white"])
def test_other_backgrounds_are_refused(background: str) -> None:
    with pytest.raises(ValidationError):
        Options(background=background)


@pytest.mark.parametrize("name", [name for name in Options.model_fields if name != "style"])
def test_an_explanation_names_the_option_and_not_the_input(name: str) -> None:
    with pytest.raises(InvalidOption) as problem:
        parse_options({name: "s3cr3t"})
    assert problem.value.detail.startswith(f"{name} must be ")
    assert "s3cr3t" not in problem.value.detail
