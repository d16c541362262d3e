"""Notifications of gNMI as leaves: schema path, keys, plain value.

A target may send a leaf, or a whole subtree as JSON; members of lists in JSON are told apart by
what OpenConfig calls their key (`name`, `index`, `id`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from watchkeeper.errors import InputError
from watchkeeper.model import Millis
from watchkeeper.sources._gnmi_paths import Keys

_DEPTH = 32  # of JSON
_LISTED_BY = ("name", "index", "id")
Plain = str | float | bool


class Leaf(NamedTuple):
    """One value. :param schema: its path without keys. :param at: when the target says it was."""

    schema: str
    keys: Keys
    value: Plain
    at: Millis


class Gone(NamedTuple):
    """What the target no longer has: everything below a path."""

    schema: str
    keys: Keys


def read(notification: Any) -> Iterator[Leaf | Gone]:
    """Yield what a notification says, in its order.

    :raises InputError: JSON that is none, or nested beyond all reason.
    """
    at = Millis(notification.timestamp // 1_000_000)
    before = notification.prefix.elem
    for path in notification.delete:
        yield Gone(*_located([*before, *path.elem]))
    for update in notification.update:
        schema, keys = _located([*before, *update.path.elem])
        for below, more, value in _values(update.val, 0):
            yield Leaf(schema + below, keys + more, value, at)


def _located(elements: Sequence[Any]) -> tuple[str, Keys]:
    names = [_bare(element.name) for element in elements]
    keys = tuple(
        (f"{name}.{_bare(key)}", value)
        for name, element in zip(names, elements, strict=True)
        for key, value in sorted(element.key.items())
    )
    return "".join(f"/{name}" for name in names), keys


def _values(value: Any, depth: int) -> Iterator[tuple[str, Keys, Plain]]:
    """Yield the scalars of a typed value, each with its path below it."""
    kind = value.WhichOneof("value")
    if kind in ("json_val", "json_ietf_val"):
        try:
            document = orjson.loads(getattr(value, kind))
        except orjson.JSONDecodeError as error:
            raise InputError(f"not JSON: {error}") from None
        yield from _within("", (), "", document, depth)
    elif kind in ("string_val", "ascii_val"):
        yield "", (), getattr(value, kind)
    elif kind == "bool_val":
        yield "", (), bool(value.bool_val)
    elif kind in ("int_val", "uint_val", "float_val", "double_val"):
        yield "", (), float(getattr(value, kind))
    elif kind == "decimal_val":
        yield "", (), value.decimal_val.digits / 10**value.decimal_val.precision


def _within(
    path: str, keys: Keys, name: str, found: Any, depth: int
) -> Iterator[tuple[str, Keys, Plain]]:
    if depth > _DEPTH:
        raise InputError("JSON nested beyond all reason")
    if isinstance(found, dict):
        for key, below in found.items():
            step = _bare(key)
            yield from _within(f"{path}/{step}", keys, step, below, depth + 1)
    elif isinstance(found, list):
        for below in found:
            yield from _within(path, keys + _key(name, below), name, below, depth + 1)
    elif isinstance(found, bool | str):
        yield path, keys, found
    elif isinstance(found, int | float):
        yield path, keys, float(found)


def _key(name: str, member: Any) -> Keys:
    if isinstance(member, dict):
        for key in _LISTED_BY:
            if isinstance(member.get(key), str | int):
                return ((f"{name}.{key}", str(member[key])),)
    return ()


def _bare(name: str) -> str:
    """Return a name without the module before it: `openconfig-interfaces:interfaces`."""
    return name.rpartition(":")[2]
