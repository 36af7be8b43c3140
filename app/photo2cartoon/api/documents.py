"""Documents: the answers that hold several pictures, or more than a picture, as JSON or ZIP."""

import base64
import io
import zipfile
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response

from photo2cartoon.api.accept import best_match
from photo2cartoon.api.answers import PRIVATE, negotiate, picture_size, settle_format
from photo2cartoon.api.schemas import Cartoon, FaceQuality, FoundFace, Landmarks, Picture, Size
from photo2cartoon.ground.errors import NotAcceptable
from photo2cartoon.ground.formats import MEDIA_TYPES, SUFFIXES
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.report import Report, SeenFace
from photo2cartoon.ground.ticket import Ticket

JSON, ZIP = "application/json", "application/zip"


def settle_answer(options: Options, request: Request) -> tuple[Options, str]:
    """Return the options with the pictures' format, and the media type of the whole answer.

    JSON is for callers whose `Accept` allows it and no picture: where `*/*` stands beside it, as
    some libraries write it, the picture comes. Several portraits are a JSON document or a ZIP.

    Raises:
        NotAcceptable: `Accept` allows none of the forms that the answer could have.
    """
    if gives_several(options):
        kind = _negotiate_several(request)
    elif _wants_json(request):
        kind = JSON
    else:
        options = settle_format(options, request)
        kind = MEDIA_TYPES[options.file_format]
    return options.model_copy(update={"format": options.file_format}), kind


def gives_several(options: Options) -> bool:
    """Whether one photo may give several pictures."""
    return options.faces == "all" and options.compose == "portrait"


def _negotiate_several(request: Request) -> str:
    try:
        return negotiate(request, [ZIP, JSON])
    except NotAcceptable:
        raise NotAcceptable(
            "Several portraits come as application/json or application/zip; "
            "compose=scene draws all faces in one picture."
        ) from None


def _wants_json(request: Request) -> bool:
    accept = ",".join(request.headers.getlist("accept"))
    pictures = list(MEDIA_TYPES.values())
    return best_match(accept, [JSON]) is not None and best_match(accept, pictures) is None


def document_response(
    kind: str,
    files: list[bytes],
    options: Options,
    ticket: Ticket,
    *,
    digest: str,
    etag: str,
    request_id: str,
) -> Response:
    """Return pictures with what is known of their photo: JSON, or a ZIP that holds the same.

    Args:
        kind: `application/json` or `application/zip`.
        files: the encoded pictures: one for each face drawn, or one in all.
        options: settled.
        ticket: of the photo, with its report.
        digest: sha256 of the generator's file.
        etag: name of the picture that these options give, if they give one.
        request_id: of the request.
    """
    report = ticket.report or Report()
    drawn = [[] if place is None else [place] for place in report.drawn]
    shown = drawn if gives_several(options) else [[place for one in drawn for place in one]]
    names = [f"{index}{SUFFIXES[options.file_format]}" for index in range(len(files))]
    media_type = MEDIA_TYPES[options.file_format]
    pictures = []
    for data, name, faces, rows in zip(files, names, shown, report.from_photo, strict=True):
        width, height = picture_size(data)
        where = {"file": name} if kind == ZIP else {"image": data_url(data, media_type)}
        pictures.append(
            Picture(
                faces=faces,
                media_type=media_type,
                width=width,
                height=height,
                from_photo=rows,
                **where,
            )
        )
    document = Cartoon(
        request_id=request_id,
        etag=None if gives_several(options) else etag,
        style=options.style or "",
        digest=digest,
        compose=options.compose,
        photo=Size(width=report.photo_size[0], height=report.photo_size[1]),
        faces=[_face(index, face) for index, face in enumerate(report.faces)],
        pictures=pictures,
        timings_ms=ticket.milliseconds(),
    ).model_dump_json(exclude_unset=True)
    if kind == JSON:
        return Response(document, 200, PRIVATE, JSON)
    archive = pack(dict(zip(names, files, strict=True)) | {"cartoons.json": document.encode()})
    return Response(archive, 200, PRIVATE, ZIP)


def _face(index: int, face: SeenFace) -> FoundFace:
    return FoundFace(
        index=index,
        box=face.box,
        score=face.score,
        landmarks=Landmarks(eyes=face.eyes, outline=face.outline),
        drawn=face.drawn,
        quality=FaceQuality(**asdict(face.quality)) if face.quality else None,
    )


def data_url(data: bytes, media_type: str) -> str:
    """Return a picture as a `data:` URL (RFC 2397), which a browser shows as it is."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def pack(files: dict[str, bytes]) -> bytes:
    """Make a ZIP of `files` by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # pictures are packed already
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()
