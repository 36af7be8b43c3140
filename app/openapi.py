"""What OpenAPI says of `POST /cartoonize`: its body is either a form or a bare image."""

from typing import Any

from starlette.responses import Response

from app.encode import MEDIA_TYPES
from app.errors import Problem
from app.options import Options

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
    cartoon = {media_type: {"schema": _BINARY} for media_type in MEDIA_TYPES.values()}
    return {200: {"description": "The cartoon", "content": cartoon}, **errors}


CARTOONIZE: dict[str, Any] = {
    "summary": "Photo in, cartoon out",
    "response_class": Response,  # no JSON among the successful answers
    "responses": _responses(),
    "openapi_extra": {
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": schema}
            for name, schema in _OPTIONS.items()
        ],
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
