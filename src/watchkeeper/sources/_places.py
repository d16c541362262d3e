"""Texts with places to fill in (`sensor:{2}/{room.name}`), and values by their path in JSON."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from watchkeeper.model import Millis

_PLACE = re.compile(r"\{([^{}]+)\}")
_LARGEST = 9e18  # beyond any time
_SECONDS, _MILLIS, _MICROS = 1e10, 1e13, 1e16  # below it a number of that size is counted so

Look = Callable[[str], str]


class Absent(Exception):
    """A place has nothing to be filled with. Its text is the place."""


def places(text: str) -> list[str]:
    """Return the places of a text."""
    return _PLACE.findall(text)


def filled(text: str, look: Look) -> str:
    """Return a text with every place filled.

    :param look: returns what belongs in a place.
    :raises Absent: nothing does.
    """
    return _PLACE.sub(lambda place: look(place[1]), text)


def within(document: Any, path: str) -> Any:
    """Return what is in a document at `a.b.0.c`; the document itself when the path is empty.

    :raises Absent: nothing is there.
    """
    found = document
    for step in path.split(".") if path else ():
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            raise Absent(path)
    return found


def moment(value: Any) -> Millis | None:
    """Return a time: RFC 3339 text, or a number since 1970 whose size tells its unit.

    The sizes are those of the columns of files; a text without an offset is in UTC.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return _written(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    size = abs(value)
    if not size < _LARGEST:
        return None
    if size < _SECONDS:
        return Millis(round(value * 1000))
    per_ms = 1 if size < _MILLIS else 1000 if size < _MICROS else 1_000_000
    return Millis(int(value // per_ms))


def _written(text: str) -> Millis | None:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return Millis(round(found.timestamp() * 1000))
