"""The document of the API: OpenAPI 3.1, made from the table of endpoints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from watchkeeper import __version__
from watchkeeper.access import Scope
from watchkeeper.http.answers import ERRORS, known, tagged
from watchkeeper.http.table import Endpoint, Says

PATH = "/api/v1/openapi.json"
ERROR = {
    "type": "object",
    "required": ["status", "errorType", "error"],
    "properties": {
        "status": {"const": "error"},
        "errorType": {"type": "string"},
        "error": {"type": "string"},
    },
}
REFUSALS = (400, 401, 403, 404, 503)


def endpoint(others: Iterable[Endpoint]) -> Endpoint:
    """Return the route of the document of all these endpoints."""
    says = Says("This document", data=None)
    held: list[bytes] = []

    def answer(request: Request) -> Response:
        known(request)
        return tagged(request, held[0], "application/json")

    mine = Endpoint("GET", PATH, Scope.PUBLIC, answer, says)
    held.append(json.dumps(document([*others, mine]), ensure_ascii=False).encode())
    return mine


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the document of the endpoints that say something of themselves."""
    paths: dict[str, dict[str, Any]] = {}
    for one in endpoints:
        if one.says is not None:
            path = re.sub(r"\{(\w+):\w+\}", r"{\1}", one.path)
            paths.setdefault(path, {})[one.method.lower()] = _operation(one, one.says)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Watchkeeper",
            "version": __version__,
            "description": "Answers are in Prometheus' envelope; lists are paged: `next` is the "
            "`after` of the next page.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": ERROR},
            "responses": {
                str(status): {
                    "description": name.replace("_", " "),
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Error"}}
                    },
                }
                for status, name in ERRORS.items()
            },
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "wk_… or OpenID"},
                "session": {"type": "apiKey", "in": "cookie", "name": "wk_session"},
            },
        },
    }


def _operation(one: Endpoint, says: Says) -> dict[str, Any]:
    more = (405, 409, 413, 415, 429) if one.method != "GET" else (405,)
    refusals = {str(s): {"$ref": f"#/components/responses/{s}"} for s in (*REFUSALS, *more)}
    found: dict[str, Any] = {
        "summary": says.summary,
        "operationId": _name(one),
        "x-scope": str(one.scope),
        "parameters": [
            {
                "name": field.name,
                "in": field.where,
                "required": field.where == "path",
                "description": field.said,
                "schema": dict(field.schema),
            }
            for field in says.fields
        ],
        "responses": {str(says.status): _answer(says), **refusals},
    }
    if one.scope is not Scope.PUBLIC:
        found["security"] = [{"token": []}, {"session": []}, {}]
    if says.body is not None:
        content = {"application/json": {"schema": dict(says.body)}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _answer(says: Says) -> dict[str, Any]:
    schema: Mapping[str, Any] = {}
    if says.data is not None:
        schema = {
            "type": "object",
            "required": ["status", "data"],
            "properties": {"status": {"const": "success"}, "data": dict(says.data)},
        }
    return {"description": says.summary, "content": {says.kind: {"schema": dict(schema)}}}


def _name(one: Endpoint) -> str:
    words = re.findall(r"\w+", re.sub(r"\{(\w+)(:\w+)?\}", r"by_\1", one.path))
    return "_".join([one.method.lower(), *words[2:]])
