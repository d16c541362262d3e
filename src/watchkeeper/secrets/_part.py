"""What every secrets manager needs: a part of what is kept, and libraries that are extras."""

from __future__ import annotations

import importlib
import json
from typing import Any

from watchkeeper.errors import SecretError


def part(store: str, path: str, text: str, key: str) -> str:
    """Return `text`, or one text of the JSON object it holds.

    :raises SecretError: a key was asked for, and there is no such text.
    """
    if not key:
        return text
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise SecretError(f"{store}: {path!r} is no JSON object", hint="leave the key out")
    return chosen(store, path, fields, key)


def chosen(store: str, path: str, fields: dict[str, Any], key: str) -> str:
    """Return one text of an object.

    :raises SecretError: there is no such text; the hint names those there are.
    """
    value = fields.get(key)
    if not isinstance(value, str):
        raise SecretError(
            f"{store}: {path!r} has no text {key!r}", hint=f"it has: {', '.join(sorted(fields))}"
        )
    return value


def alone(store: str, path: str, key: str) -> None:
    """Refuse a key where what is kept has no parts.

    :raises SecretError: a key was given.
    """
    if key:
        raise SecretError(f"{store}: {path!r} has no parts", hint="leave the key out")


def library(name: str, extra: str) -> Any:
    """Return the library of an extra.

    :raises SecretError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SecretError(
            f"{extra}: {error.name} is not installed", hint=f"pip install watchkeeper[{extra}]"
        ) from None
