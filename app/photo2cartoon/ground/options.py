"""What a caller may choose, by the same names over HTTP, on the command line and in Python."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from photo2cartoon.ground.errors import InvalidOption
from photo2cartoon.ground.formats import OutputFormat
from photo2cartoon.ground.numbers import read_number


def _read_format(value: object) -> object:
    """Take the suffix for the name: `jpg` is JPEG."""
    return "jpeg" if value == "jpg" else value


class Options(BaseModel):
    """The options of one call. A wrong value or an unknown name raises pydantic's error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    style: str | None = Field(
        None, max_length=100, description="the name of a style; GET /v1/styles lists them"
    )
    faces: Literal["largest", "all"] | Annotated[int, Field(ge=0)] = Field(
        "largest", description="largest, all, or an index counted from 0 at the left"
    )
    compose: Literal["portrait", "scene", "whole"] = Field(
        "portrait",
        description="portrait (the cartoon alone), scene (the head drawn in the photo) or whole "
        "(the whole photo drawn, people and place)",
    )
    size: Annotated[Literal[256, 512, 1024], BeforeValidator(read_number)] | None = Field(
        None, description="256, 512 or 1024: side of a portrait, px; smaller where the face is"
    )
    background: str | None = Field(
        None,
        pattern=r"^(white|transparent|#[0-9a-fA-F]{6})$",
        description="white, transparent or #rrggbb; for portraits",
    )
    colours: Literal["photo", "drawn"] | None = Field(
        None, description="photo (the photo's own) or drawn (exactly what the generator drew)"
    )
    format: Annotated[OutputFormat, BeforeValidator(_read_format)] | None = Field(
        None, description="png, jpeg (or jpg) or webp"
    )
    quality: int | None = Field(
        None, ge=1, le=100, description="1 to 100, of JPEG and WebP; PNG loses nothing"
    )

    on_no_face: Literal["error", "centre"] = Field(
        "error",
        description="error, or centre (the middle of the photo is drawn if no face is found)",
    )
    on_overload: Literal["error", "smaller"] = Field(
        "error",
        description="error, or smaller (a portrait may become smaller while many photos wait)",
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        for name in ("background", "size"):
            if self.compose != "portrait" and getattr(self, name) is not None:
                kept = f"a {self.compose} keeps the photo's own"
                raise ValueError(f"{name} is for portraits: {kept}.")
        if self.compose == "whole" and (self.faces != "largest" or self.colours == "photo"):
            raise ValueError("faces and colours are not for a whole photo: all of it is drawn.")
        if self.transparent and self.format == "jpeg":
            raise ValueError("JPEG cannot be transparent.")
        return self

    @property
    def file_format(self) -> OutputFormat:
        """The format of the picture's file: PNG where `format` leaves it open."""
        return self.format or "png"

    @property
    def transparent(self) -> bool:
        """Whether the picture has an alpha channel."""
        return self.background == "transparent"

    @property
    def colour(self) -> tuple[int, int, int]:
        """The background as RGB, 0..255; white where it is transparent."""
        if self.background is None or not self.background.startswith("#"):
            return 255, 255, 255
        red, green, blue = bytes.fromhex(self.background[1:])
        return red, green, blue


def parse_options(given: Mapping[str, object]) -> Options:
    """Check options as a caller wrote them.

    Raises:
        InvalidOption: a name or value is wrong; it says what would be right, and repeats nothing.
    """
    try:
        return Options.model_validate(given)
    except ValidationError as error:
        raise InvalidOption(_explain(error)) from error


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    if not first["loc"]:
        return str(first["ctx"]["error"])  # a message of `_check_together`
    field = Options.model_fields.get(str(first["loc"][0]))
    if field is None:
        return f"An unknown option. There are: {', '.join(Options.model_fields)}."
    return f"{first['loc'][0]} must be {field.description}."
