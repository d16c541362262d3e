"""Fields that hold secrets: texts written down, files, and what is kept in stores.

    secret: ${WEBHOOK_SECRET}                                  a text, from the environment
    secret_file: webhook.secret                                a file only we can read
    secret: {secret: vault, path: watchkeeper/webhook, key: secret}

A reference names a store of the `secrets:` section. It is read while the configuration is, so
what cannot be had is told with its place; and again while it is in use (`secrets.Keeper`).
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from watchkeeper.config._problems import path_text, problem, shown, suggestion
from watchkeeper.config._yaml import Node, Problem, Step
from watchkeeper.errors import SecretError
from watchkeeper.secret import Secret
from watchkeeper.secrets import Keeper, Reference

FIELDS = ("secret", "path", "key")


def holds(kind: Any) -> bool:
    """Return whether a field of this type holds a secret, or several by name."""
    return kind is Secret or _by_name(kind)


def in_a_file(node: Node) -> Node:
    """Return the reference that `x_file: PATH` stands for; relative to the file it is in."""
    folder = Path(node.place.file).parent
    path = replace(node, value=str(folder / str(node.value)), plain=False)
    return replace(node, value={"secret": replace(path, value="file"), "path": path})


def checked(
    node: Node, kind: Any, path: Sequence[Step], found: list[Problem], keeper: Keeper | None
) -> Any:
    """Return the secret, or the secrets by name, that a node stands for; read once, to be sure."""
    if kind is Secret:
        return _one(node, path, found, keeper)
    if not isinstance(node.value, dict):
        found.append(problem(node, path, f"must be a mapping, got {shown(node, path)}"))
        return {}
    return {name: _one(child, (*path, name), found, keeper) for name, child in node.value.items()}


def schema(kind: Any) -> dict[str, Any]:
    """Return the JSON Schema of such a field."""
    one = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/secret"}]}
    return one if kind is Secret else {"type": "object", "additionalProperties": one}


def definition() -> dict[str, Any]:
    """Return the JSON Schema of a reference."""
    said = ("The name of a store under `secrets`.", "Where in the store.", "Which part of it.")
    return {
        "type": "object",
        "title": "secret",
        "description": "A secret that is kept in a store.",
        "properties": {
            name: {"type": "string", "minLength": 1, "description": text}
            for name, text in zip(FIELDS, said, strict=True)
        },
        "required": ["secret", "path"],
        "additionalProperties": False,
    }


def _by_name(kind: Any) -> bool:
    return typing.get_origin(kind) is Mapping and typing.get_args(kind)[-1] is Secret


def _one(node: Node, path: Sequence[Step], found: list[Problem], keeper: Keeper | None) -> Secret:
    if isinstance(node.value, str):
        return Secret(node.value)
    if not isinstance(node.value, dict):
        what = shown(replace(node, expanded=True), path)
        hint = "or {secret: STORE, path: …, key: …}"
        found.append(problem(node, path, f"must be text, got {what}", hint))
        return Secret()
    reference = _reference(node, path, found)
    if reference is None:
        return Secret()
    if keeper is None:
        found.append(problem(node, path, "a secret cannot be referred to here"))
        return Secret()
    secret = keeper.secret(reference)
    try:
        secret.reveal()
    except SecretError as error:
        found.append(problem(node, path, str(error.args[0]), error.hint, SecretError.code))
    return secret


def _reference(node: Node, path: Sequence[Step], found: list[Problem]) -> Reference | None:
    assert isinstance(node.value, dict)
    fields, before = node.value, len(found)
    for name, child in fields.items():
        if name not in FIELDS:
            hint = suggestion(name, FIELDS)
            where = child.key or child.place
            found.append(Problem(where, path_text((*path, name)), "no such field", hint))
        elif not isinstance(child.value, str) or not child.value:
            found.append(problem(child, (*path, name), "must be text that is not empty"))
    for name in FIELDS[:2]:
        if name not in fields:
            found.append(problem(node, (*path, name), "is missing"))
    if len(found) > before:
        return None
    return Reference(*(str(fields[name].value) for name in FIELDS if name in fields))
