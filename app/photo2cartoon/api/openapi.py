"""What `openapi.json` says beyond what FastAPI can infer: bodies, answers, and their schemas."""

from collections.abc import Container
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema
from starlette.responses import Response

from photo2cartoon.api import schemas
from photo2cartoon.ground.errors import Problem
from photo2cartoon.ground.formats import MEDIA_TYPES
from photo2cartoon.ground.options import Options

DOCUMENTS = (
    schemas.Problem,
    schemas.Cartoon,
    schemas.CartoonRequest,
    schemas.Batch,
    schemas.StyleList,
    schemas.Liveness,
    schemas.Readiness,
    schemas.Images,
    schemas.Model,
    schemas.ModelList,
)
TEMPLATE = "#/components/schemas/{model}"
REQUEST_ID = "0f8fad5bd9cb469fa16570867728950e"
_ELSEWHERE = (404, 405)  # other addresses, other methods
_BINARY = {"type": "string", "format": "binary"}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Where the service has API keys"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key"},
}


class DescribedApp(FastAPI):
    """An application whose `openapi.json` has the project's own schemas among its components."""

    def openapi(self) -> dict[str, Any]:
        """Return the description; it is made once."""
        if self.openapi_schema is None:
            described = super().openapi()
            for path in described["paths"].values():
                for operation in path.values():
                    _drop_fastapis_422(operation["responses"])
            components = described.setdefault("components", {})
            components["schemas"] = dict(sorted(_components().items()))
            components["securitySchemes"] = _SECURITY
        return super().openapi()


def _drop_fastapis_422(responses: dict[str, Any]) -> None:
    """Drop the answer that FastAPI adds for a parameter in the path: any text is valid there."""
    content = responses.get("422", {}).get("content", {})
    if "application/json" in content:  # ours are application/problem+json
        del responses["422"]


def operation_id(route: APIRoute) -> str:
    """Name an operation after its function, so that generated clients have names like ours."""
    return route.name


def _components() -> dict[str, Any]:
    _, described = models_json_schema(
        [(model, "validation") for model in DOCUMENTS], ref_template=TEMPLATE
    )
    found: dict[str, Any] = _without_null(described["$defs"])
    return found


def _without_null(schema: Any) -> Any:
    """Say of what may be left out that it may be left out, and not that it may be null."""
    if isinstance(schema, list):
        return [_without_null(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _without_null(value) for key, value in schema.items()}
    if (kinds := plain.get("anyOf")) and {"type": "null"} in kinds:
        kinds = [kind for kind in kinds if kind != {"type": "null"}]
        del plain["anyOf"]
        plain |= kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    if plain.get("default", "") is None:
        del plain["default"]
    if isinstance(plain.get("title"), str):  # a title is the name again
        del plain["title"]
    return plain


def refer(model: type[Any]) -> dict[str, str]:
    """Return a reference to the schema of one of `DOCUMENTS`."""
    return {"$ref": TEMPLATE.format(model=model.__name__)}


def answer(model: type[Any], description: str) -> dict[str, Any]:
    """Describe an answer in JSON."""
    return {"description": description, "content": {"application/json": {"schema": refer(model)}}}


def errors(statuses: Container[int] | None = None) -> dict[int | str, dict[str, Any]]:
    """Describe problems by status: `statuses`, or all that a request to draw can meet."""
    by_status: dict[int, list[type[Problem]]] = {}
    for problem in Problem.__subclasses__():
        met = problem.status not in _ELSEWHERE if statuses is None else problem.status in statuses
        if met:
            by_status.setdefault(problem.status, []).append(problem)
    return {
        status: {
            "description": ", ".join(f"`{problem.code}`" for problem in problems),
            "content": {
                "application/problem+json": {
                    "schema": refer(schemas.Problem),
                    "examples": {
                        problem.code: {"value": problem().body(REQUEST_ID)} for problem in problems
                    },
                }
            },
        }
        for status, problems in sorted(by_status.items())
    }


_OPTIONS = _without_null(Options.model_json_schema()["properties"])
_FORM = {"encoding": {"photo": {"contentType": "image/*, application/octet-stream"}}}
_PICTURES = {media_type: {"schema": _BINARY} for media_type in MEDIA_TYPES.values()}
_TEXT = {"type": "string"}
_HEADERS = {
    "ETag": {"description": "Names the answer", "schema": _TEXT},
    "Server-Timing": {"description": "Milliseconds by stage", "schema": _TEXT},
    "X-Style": {"description": "The style in which it is drawn", "schema": _TEXT},
    "X-Picture-Size": {"description": "Width and height, such as 512x512", "schema": _TEXT},
    "X-Request-ID": {"description": "Names the request", "schema": _TEXT},
}
_PARAMETERS = [
    *(
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema["description"],
            "schema": {key: value for key, value in schema.items() if key != "description"},
        }
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
    "schema": _TEXT,
}


def _form(photo: dict[str, Any]) -> dict[str, Any]:
    properties = {"photo": photo, **_OPTIONS}
    return {
        "schema": {"type": "object", "required": ["photo"], "properties": properties},
        **_FORM,
    }


_DRAWS: dict[str, Any] = {"tags": ["cartoons"], "response_class": Response}  # no JSON by itself
_KEYS: dict[str, Any] = {"security": [{}, *({name: []} for name in _SECURITY)]}

CARTOONIZE: dict[str, Any] = {
    **_DRAWS,
    "summary": "Photo in, cartoon out",
    "responses": {
        200: {
            "description": "The cartoon; as JSON or ZIP where `Accept` or several portraits ask",
            "headers": _HEADERS,
            "content": {
                **_PICTURES,
                "application/json": {"schema": refer(schemas.Cartoon)},
                "application/zip": {"schema": _BINARY},
            },
        },
        304: {"description": "The caller has the picture already: `If-None-Match` names its ETag"},
        **errors(),
    },
    "openapi_extra": {
        **_KEYS,
        "parameters": [*_PARAMETERS, _IF_NONE_MATCH],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": _form(_BINARY),
                "application/json": {"schema": refer(schemas.CartoonRequest)},
                "image/*": {"schema": _BINARY},
                "application/octet-stream": {"schema": _BINARY},
            },
        },
    },
}

BATCH: dict[str, Any] = {
    **_DRAWS,
    "summary": "Several photos in, several cartoons out",
    "responses": {
        200: {
            "description": "One item for each photo, in their order; each has its own status",
            "content": {
                "application/json": {"schema": refer(schemas.Batch)},
                "application/zip": {"schema": _BINARY},
            },
        },
        **errors(),
    },
    "openapi_extra": {
        **_KEYS,
        "parameters": _PARAMETERS,
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": _form({"type": "array", "items": _BINARY})},
        },
    },
}

STYLES: dict[str, Any] = {
    "tags": ["cartoons"],
    "summary": "The styles that `style` may name",
    "responses": {200: answer(schemas.StyleList, "The styles; the first is the default")},
}
LIVE: dict[str, Any] = {
    "tags": ["service"],
    "summary": "The process can work",
    "responses": {
        200: answer(schemas.Liveness, "It can"),
        503: answer(schemas.Liveness, "It cannot: only a new process helps"),
    },
}
READY: dict[str, Any] = {
    "tags": ["service"],
    "summary": "The service can take work",
    "responses": {
        200: answer(schemas.Readiness, "It can"),
        503: answer(schemas.Readiness, "It is draining, failing or dead"),
    },
}
METRICS: dict[str, Any] = {
    "tags": ["service"],
    "summary": "For Prometheus",
    "responses": {
        200: {"description": "Every metric", "content": {"text/plain": {"schema": _TEXT}}}
    },
}

_OBJECT = {"type": "object"}
_NAME_MISSING = {404: errors((404,))[404]}


def _json_object(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _OBJECT}}}


IMAGE_EDIT: dict[str, Any] = {
    "tags": ["openai"],
    "response_class": Response,
    "summary": "OpenAI's images.edit: photo in, cartoon out",
    "responses": {200: answer(schemas.Images, "The cartoon"), **errors()},
    "openapi_extra": {
        **_KEYS,
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["image"],
                        "properties": {
                            "image": _BINARY,
                            "model": {**_TEXT, "description": "the name of a style"},
                            "prompt": {**_TEXT, "description": "accepted, and not heeded"},
                            "size": {"enum": ["auto", "256x256", "512x512", "1024x1024"]},
                            "background": {"enum": ["auto", "opaque", "transparent"]},
                            "output_format": {"enum": ["png", "jpeg", "webp"]},
                            "output_compression": {"type": "integer"},
                            "response_format": {"enum": ["b64_json", "url"]},
                            "n": {"type": "integer", "enum": [1]},
                        },
                    }
                }
            },
        },
    },
}
MODELS: dict[str, Any] = {
    "tags": ["openai"],
    "summary": "OpenAI's models.list: the styles",
    "responses": {200: answer(schemas.ModelList, "The styles; the first is the default")},
}
MODEL: dict[str, Any] = {
    "tags": ["openai"],
    "summary": "OpenAI's models.retrieve: one style",
    "responses": {200: answer(schemas.Model, "The style"), **_NAME_MISSING},
}

_INFERENCE: dict[str, Any] = {"tags": ["inference"]}
INFERENCE: dict[str, Any] = {
    **_INFERENCE,
    "summary": "Open Inference Protocol: the server",
    "responses": {200: _json_object("Name, version, extensions")},
}
SERVER_HEALTH: dict[str, Any] = {
    **_INFERENCE,
    "summary": "Open Inference Protocol: health",
    "responses": {200: _json_object("Yes"), 503: _json_object("No")},
}
MODEL_METADATA: dict[str, Any] = {
    **_INFERENCE,
    "summary": "Open Inference Protocol: what a style takes and gives",
    "responses": {200: _json_object("Inputs and outputs"), **_NAME_MISSING},
}
MODEL_HEALTH: dict[str, Any] = {
    **_INFERENCE,
    "summary": "Open Inference Protocol: a style is loaded",
    "responses": {200: _json_object("Yes"), **_NAME_MISSING},
}
INFER: dict[str, Any] = {
    **_INFERENCE,
    "response_class": Response,
    "summary": "Open Inference Protocol: photo in, cartoon out",
    "responses": {
        200: {
            "description": "The outputs, in the JSON or behind it",
            "content": {
                "application/json": {"schema": _OBJECT},
                "application/octet-stream": {"schema": _BINARY},
            },
        },
        **errors(),
        **_NAME_MISSING,
    },
    "openapi_extra": {
        **_KEYS,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _OBJECT},
                "application/octet-stream": {"schema": _BINARY},
            },
        },
    },
}
