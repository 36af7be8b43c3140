"""What the tests of several commands share."""

import io

import pytest
from PIL import Image


@pytest.fixture(scope="session")
def faceless(photo: bytes) -> bytes:
    """PNG of a person whose face is hidden: nothing to detect, somebody to draw."""
    person = Image.open(io.BytesIO(photo)).crop((60, 0, 420, 512))
    person.paste((90, 90, 90), (100, 60, 230, 200))
    buffer = io.BytesIO()
    person.save(buffer, "PNG")
    return buffer.getvalue()
