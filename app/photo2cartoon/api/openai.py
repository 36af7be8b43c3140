"""OpenAI's image interface, as far as it fits: `images.edit` and `models`.

The `openai` package works unchanged, with this service's address as its `base_url`. A model is a
style. A prompt is accepted and not heeded, because a style draws what it was trained to draw.
"""

import base64
import time
from typing import Any

from fastapi import APIRouter, Request, Response

from photo2cartoon.api.answers import PRIVATE
from photo2cartoon.api.arrival import arrive, draw
from photo2cartoon.api.bodies import Fields, read_photos
from photo2cartoon.api.documents import data_url
from photo2cartoon.api.keys import Admitted
from photo2cartoon.api.large import one_at_a_time
from photo2cartoon.api.openapi import IMAGE_EDIT, MODEL, MODELS
from photo2cartoon.api.routes import EngineDep
from photo2cartoon.api.schemas import Image, Images, Model, ModelList
from photo2cartoon.ground.errors import InvalidOption, MalformedRequest, NotFound, PhotoMissing
from photo2cartoon.ground.formats import MEDIA_TYPES
from photo2cartoon.ground.options import Options, parse_options

OWNER = "photo2cartoon"
FILES = 2  # one is the photo; the other may be a mask, which is refused by name
IMAGES = ("image", "image[]")
FORMS = ("b64_json", "url")
UNHEEDED = {"prompt", "user", "input_fidelity", "moderation", "partial_images"}
FIXED = {
    "n": ("1", "the same photo gives the same picture"),
    "stream": ("false", "the picture comes at once"),
}
NAMES = {"model": "style", "output_format": "format", "output_compression": "quality"}
VALUES: dict[str, dict[str, str | None]] = {  # None: as if it were not given
    "size": {"auto": None, "256x256": "256", "512x512": "512", "1024x1024": "1024"},
    "background": {"auto": None, "opaque": "white"},
    "output_compression": {"0": "1"},  # ours begins at 1
    "quality": dict.fromkeys(("auto", "standard", "hd", "low", "medium", "high")),
}

router = APIRouter()


@router.post("/v1/images/edits", **IMAGE_EDIT)
async def edit_image(request: Request, engine: EngineDep, _: Admitted) -> Response:
    """Turn the photo `image` into a cartoon, in the style that `model` names."""
    async with arrive(request, engine, _read) as ((photo, fields), ticket):
        options, form = _read_fields([*request.query_params.multi_items(), *fields])
        options = engine.pipeline.styles.settle(options)
        options = options.model_copy(update={"format": options.file_format})
        pictures = await draw(request, engine, photo, options, ticket)
    return await one_at_a_time(_answer, pictures, options, form)


@router.get("/v1/models", **MODELS)
async def list_models(engine: EngineDep) -> Response:
    """Return the styles as OpenAI lists models."""
    models = [_model(name) for name in engine.pipeline.styles.drawers]
    return _json(ModelList(object="list", data=models))


@router.get("/v1/models/{name}", **MODEL)
async def retrieve_model(name: str, engine: EngineDep) -> Response:
    """Return one style as OpenAI describes a model."""
    if name not in engine.pipeline.styles.drawers:
        raise NotFound("There is no such style. GET /v1/models lists them.")
    return _json(_model(name))


def _model(name: str) -> Model:
    return Model(id=name, object="model", created=0, owned_by=OWNER)


def _json(document: Any) -> Response:
    return Response(document.model_dump_json(exclude_unset=True), media_type="application/json")


async def _read(request: Request, max_bytes: int) -> tuple[bytes, Fields]:
    """Read the photo and the fields of the form.

    Raises:
        PhotoMissing: there is no file `image`, or it is empty.
        MalformedRequest: it is no form, or has several images.
        InvalidOption: it has a mask.
    """
    files, fields = await read_photos(request, max_bytes, max_files=FILES, names=IMAGES)
    if any(name == "mask" for name, _ in fields):
        raise InvalidOption("A mask is not taken: all of the person is drawn.")
    if len(files) > 1:
        raise MalformedRequest("Send one image.")
    if not files or not files[0]:
        raise PhotoMissing("Send the photo as the file 'image' of a form.")
    return files[0], fields


def _read_fields(fields: Fields) -> tuple[Options, str]:
    """Translate OpenAI's fields; this service's own options may stand beside them.

    Returns:
        The options, and in which form the picture is returned: one of `FORMS`.

    Raises:
        InvalidOption: a field is unknown, given twice, or has a value that does not fit.
    """
    given = dict(fields)
    if len(given) < len(fields):
        raise InvalidOption("An option is given twice.")
    form = given.pop("response_format", FORMS[0])
    if form not in FORMS:
        raise InvalidOption("response_format must be b64_json or url.")
    for name, (only, reason) in FIXED.items():
        if given.pop(name, only) != only:
            raise InvalidOption(f"{name} must be {only}: {reason}.")
    heeded = [name for name in given if name not in UNHEEDED]
    options = {
        NAMES.get(name, name): VALUES.get(name, {}).get(given[name], given[name]) for name in heeded
    }
    if len(options) < len(heeded):
        raise InvalidOption("An option is given twice.")
    chosen = {name: value for name, value in options.items() if value is not None}
    return parse_options(chosen), form


def _answer(pictures: list[bytes], options: Options, form: str) -> Response:
    media_type = MEDIA_TYPES[options.file_format]
    images = [
        Image(url=data_url(picture, media_type))
        if form == "url"
        else Image(b64_json=base64.b64encode(picture).decode())
        for picture in pictures
    ]
    document = Images(
        created=int(time.time()),
        data=images,
        background="transparent" if options.transparent else "opaque",
        output_format=options.file_format,
    )
    response = _json(document)
    response.headers.update(PRIVATE)
    return response
