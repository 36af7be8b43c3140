"""What OpenAPI says about `POST /cartoonize` and its batch: bodies that FastAPI cannot infer."""

from typing import Any

from starlette.responses import Response

from photo2cartoon.ground.errors import Problem
from photo2cartoon.ground.formats import MEDIA_TYPES
from photo2cartoon.ground.options import Options

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
    },
}
_OPTIONS = Options.model_json_schema()["properties"]
_BINARY = {"type": "string", "format": "binary"}
_ELSEWHERE = (404, 405)  # other addresses, other methods


def _responses() -> dict[int | str, dict[str, Any]]:
    by_status: dict[int, list[type[Problem]]] = {}
    for problem in Problem.__subclasses__():
        by_status.setdefault(problem.status, []).append(problem)
    errors: dict[int | str, dict[str, Any]] = {
        status: {
            "description": ", ".join(f"`{problem.code}`" for problem in problems),
            "content": {
                "application/problem+json": {
                    "schema": _PROBLEM,
                    "examples": {
                        problem.code: {
                            "value": {
                                "type": f"urn:photo2cartoon:problem:{problem.code}",
                                "title": problem.title,
                                "status": status,
                                "detail": problem.default_detail,
                                "code": problem.code,
                                "request_id": "0f8fad5bd9cb469fa16570867728950e",
                            }
                        }
                        for problem in problems
                    },
                }
            },
        }
        for status, problems in sorted(by_status.items())
        if status not in _ELSEWHERE
    }
    return errors


_ERRORS = _responses()
_CARTOON = {media_type: {"schema": _BINARY} for media_type in MEDIA_TYPES.values()}
_PARAMETERS = [
    *(
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in _OPTIONS.items()
    ),
    {
        "name": "X-Request-Timeout-Ms",
        "in": "header",
        "required": False,
        "description": "How long the caller waits for the answer once its photo has arrived.",
        "schema": {"type": "integer", "minimum": 1},
    },
]
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "ETags of pictures that the caller already has.",
    "schema": {"type": "string"},
}

CARTOONIZE: dict[str, Any] = {
    "summary": "Photo in, cartoon out",
    "response_class": Response,  # no JSON among the successful answers
    "responses": {
        200: {"description": "The cartoon", "content": _CARTOON},
        304: {"description": "The caller has the picture already: `If-None-Match` names its ETag"},
        **_ERRORS,
    },
    "openapi_extra": {
        "parameters": [*_PARAMETERS, _IF_NONE_MATCH],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["photo"],
                        "properties": {"photo": _BINARY, **_OPTIONS},
                    }
                },
                "image/*": {"schema": _BINARY},
            },
        },
    },
}

_ITEM = {
    "type": "object",
    "required": ["index", "status"],
    "properties": {
        "index": {"type": "integer", "description": "Place of the photo in the form, from 0"},
        "status": {"type": "integer", "description": "As for a request with this photo alone"},
        "media_type": {"type": "string"},
        "etag": {"type": "string"},
        "data": {"type": "string", "contentEncoding": "base64"},
        "problem": _PROBLEM,
    },
}

BATCH: dict[str, Any] = {
    "summary": "Several photos in, several cartoons out",
    "response_class": Response,
    "responses": {
        200: {
            "description": "One item for each photo, in their order; each has its own status",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "properties": {"items": {"type": "array", "items": _ITEM}},
                    }
                },
                "application/zip": {"schema": _BINARY},
            },
        },
        **_ERRORS,
    },
    "openapi_extra": {
        "parameters": _PARAMETERS,
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["photo"],
                        "properties": {"photo": {"type": "array", "items": _BINARY}, **_OPTIONS},
                    }
                }
            },
        },
    },
}
