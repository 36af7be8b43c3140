"""What evaluation measures of a raw photo is what the service answers."""

from __future__ import annotations

import numpy as np

from photo2cartoon.cli.training import draw_aligned
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon_models.manifest import Colours
from tests.app.fakes import picture


def test_a_photo_is_drawn_as_the_service_does(pipeline: Pipeline, photo: bytes) -> None:
    choices: tuple[Colours, ...] = ("photo", "drawn")
    drawn = {}
    for colours in choices:
        pictures = draw_aligned(pipeline, colours, photo)
        assert pictures is not None
        seen, drawn[colours] = pictures
        (answer,) = pipeline.draw(photo, Options(colours=colours), Ticket())
        np.testing.assert_array_equal(drawn[colours], answer)
        assert seen.shape == answer.shape
        assert np.abs(seen[:8, :8].astype(int) - 255).max() < 3  # on white, as the cartoon
    assert (drawn["photo"] != drawn["drawn"]).any()


def test_a_photo_without_a_face(pipeline: Pipeline) -> None:
    assert draw_aligned(pipeline, "photo", picture()) is None
