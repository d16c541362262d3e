"""The reference of the API, made from its OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from watchkeeper.access.doorkeeper import Doorkeeper
from watchkeeper.http.api import endpoints
from watchkeeper.http.api.document import document as openapi
from watchkeeper.http.view import HouseView

METHODS = ("get", "post", "put", "delete", "patch")


def page() -> str:
    """Return the page of all operations."""
    parts = [
        "# API operations\n\nMade from the OpenAPI document that a running house gives out at"
        " `/api/v1/openapi.json`. Envelope, paging, tags and live updates: [the API](../api.md)."
        " Who has which scope: [access](../access.md#roles). What is pushed, and how:"
        " [receivers](../receivers.md).\n"
    ]
    for method, path, says in operations():
        parts.append(f"## {method.upper()} {path}\n")
        parts.append(f"{says['summary']}. Scope: `{says['x-scope']}`.\n")
        rows = [
            f"| `{one['name']}` | {one['in']} | {_type(one['schema'])} | {one['description']} |"
            for one in says["parameters"]
        ]
        if rows:
            parts.append("| parameter | in | type | meaning |\n| --- | --- | --- | --- |")
            parts.append("\n".join([*rows, ""]))
        if "requestBody" in says:
            parts.append(_block("Body", says["requestBody"]["content"]))
        status, answer = next(iter(says["responses"].items()))
        parts.append(_block(f"Answer {status}", answer["content"]))
        refused = [code for code in says["responses"] if code != status]
        parts.append(f"Refusals: {', '.join(refused)}.\n")
    return "\n".join(parts)


def document() -> dict[str, Any]:
    """Return the OpenAPI document of everything there is to ask."""
    # Only asked for what they say of themselves; nothing is answered.
    nobody = cast(HouseView, None), cast(Doorkeeper, object())
    return openapi(endpoints(*nobody))


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and operation."""
    for path, item in document()["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def _block(title: str, content: dict[str, Any]) -> str:
    kind, told = next(iter(content.items()))
    schema = told.get("schema") or {}
    body = json.dumps(schema, indent=2, ensure_ascii=False)
    return f"{title}, `{kind}`" + (f":\n\n```json\n{body}\n```\n" if schema else ".\n")


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    kind = str(schema.get("type", "text"))
    bounds = [
        f"{word} {schema[key]}"
        for key, word in (("minimum", "from"), ("maximum", "to"))
        if key in schema
    ]
    return " ".join([{"string": "text", "integer": "whole number"}.get(kind, kind), *bounds])
