"""Schemas: the JSON documents that the service returns, and the one that it takes.

Answers are built from these models, and `openapi.json` is made from them, so that both agree.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from photo2cartoon.ground.options import Options

Point = Annotated[tuple[float, float], Field(description="x, y, px of the upright photo")]
Row = tuple[float, float, float]
Base64 = Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True)


class Problem(_Document):
    """An error, as RFC 9457 has it."""

    type: str = Field(examples=["urn:photo2cartoon:problem:no_face"])
    title: str = Field(examples=["No face found"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["No face was found in the photo."])
    code: str = Field(description="stable: programs may rely on it", examples=["no_face"])
    request_id: str = Field(examples=["0f8fad5bd9cb469fa16570867728950e"])


class Size(_Document):
    """The size of the upright photo, px."""

    width: int
    height: int


class Landmarks(_Document):
    """What decides how a face is cut out."""

    eyes: list[Point] = Field(description="outer eye corners, the one at image left first")
    outline: list[Point] = Field(description="brows and jaw")


class FaceQuality(_Document):
    """How well a face can be drawn, as far as numbers tell."""

    face_px: float = Field(description="longer side of the box, px of the photo")
    sharpness: float = Field(description="variance of the Laplacian of the luma; soft below 20")
    exposure: float = Field(description="mean luma, 0 (black) .. 1 (white)")
    clipped: float = Field(description="share without detail, black or white, 0..1")
    colour: float = Field(description="mean chroma in CIELAB; 0 is a gray photo")
    matte_coverage: float = Field(description="share of the picture that is person, 0..1")


class FoundFace(_Document):
    """One face of the photo."""

    index: int = Field(description="place among the faces found, from the left, from 0")
    box: tuple[float, float, float, float] = Field(description="left, top, right, bottom, px")
    score: float = Field(description="how sure the landmark network is, 0..1")
    landmarks: Landmarks
    drawn: bool
    quality: FaceQuality | None = Field(description="of a face that was cut out to be drawn")


class Picture(_Document):
    """One picture."""

    faces: list[int] = Field(description="indices of the faces that are drawn in it")
    media_type: str = Field(examples=["image/png"])
    width: int
    height: int
    from_photo: tuple[Row, Row] = Field(
        description="rows of an affine map: px of the upright photo to px of the picture",
        examples=[[[0.5, 0.01, -80.2], [-0.01, 0.5, -31.7]]],
    )
    image: str | None = Field(None, description="a data: URL; in JSON")
    file: str | None = Field(None, description="its name in the archive; in a ZIP")


class Cartoon(_Document):
    """Pictures, and what is known of the photo."""

    request_id: str
    etag: str | None = Field(description="names the picture, if there is one alone")
    style: str
    digest: str = Field(description="sha256 of the generator's file")
    compose: Literal["portrait", "scene", "whole"]
    photo: Size
    faces: list[FoundFace] = Field(description="from left to right")
    pictures: list[Picture]
    timings_ms: dict[str, float] = Field(description="by stage")


class CartoonRequest(Options):
    """A photo as text, with the options beside it."""

    photo: str = Field(
        description="a data: URL in base64, or base64 alone",
        examples=["data:image/jpeg;base64,/9j/4AAQSkZJRg..."],
    )


class BatchItem(_Document):
    """What became of one photo of a batch."""

    index: int = Field(description="place of the photo in the form, from 0")
    status: int = Field(description="as for a request with this photo alone")
    media_type: str | None = None
    etag: str | None = None
    problem: Problem | None = None
    data: Base64 | None = Field(None, description="the picture, in JSON")
    file: str | None = Field(None, description="its name in the archive, in a ZIP")


class Batch(_Document):
    """One item for each photo, in their order."""

    items: list[BatchItem]


class Style(_Document):
    """One style."""

    name: str = Field(examples=["comic"])
    default: bool
    licence: str = Field(examples=["Apache-2.0"])
    sizes: list[int] = Field(description="sides of a portrait that may be asked for, px")
    default_size: int
    drawn_at: list[int] = Field(description="sides at which it draws; others are enlarged, px")
    compose: list[str]
    colours: Literal["photo", "drawn"]
    digest: str = Field(description="sha256 of the generator's file")
    example: str | None = Field(
        description="address of a picture that it drew, relative to this one; null without",
        examples=["../page/style-comic.webp"],
    )


class StyleList(_Document):
    """The styles that are loaded; the first is the default."""

    styles: list[Style]


class Liveness(_Document):
    """Whether the process can work."""

    status: Literal["alive", "dead"]


class Readiness(_Document):
    """Whether the service takes work, and how much it has."""

    status: Literal["ready", "draining", "failing", "dead"]
    failing: str = Field(description="why the last self test failed; empty if it passed")
    predicted_wait_ms: int = Field(description="how long a photo that came now would wait")
    waiting: int
    running: int
    models: dict[str, str] = Field(description="sha256 by the model's name")


class Image(_Document):
    """One picture, as OpenAI returns it."""

    b64_json: Base64 | None = None
    url: str | None = Field(None, description="a data: URL, with response_format=url")


class Images(_Document):
    """Pictures, as OpenAI returns them."""

    created: int = Field(description="seconds since 1970")
    data: list[Image]
    background: Literal["opaque", "transparent"]
    output_format: Literal["png", "jpeg", "webp"]


class Model(_Document):
    """A style, as OpenAI describes a model."""

    id: str = Field(examples=["comic"])
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(_Document):
    """The styles, as OpenAI lists models."""

    object: Literal["list"]
    data: list[Model]
