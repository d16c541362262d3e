"""Read YAML 1.2 into a tree in which everything knows its line and column.

The tree is composed here from the parser's events rather than by the library's own composer,
because a configuration comes from people and places that may be hostile or tired: tags construct
nothing, a key given twice is an error, and size, depth and alias expansion are bounded before
anything is built. Plain scalars resolve by the YAML 1.2 core schema (so `no` is text).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from watchkeeper.errors import ConfigError

BYTES_MAX = 1 << 20  # of one file
NODES_MAX = 100_000  # of one file, aliases counted as often as they are used
DEPTH_MAX = 40

Scalar: TypeAlias = str | int | float | bool | None
Step: TypeAlias = str | int

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a text, counted from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        """Return `file:line:column`, which editors open."""
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where, and what to do about it.

    :param path: where in the configuration (`sources[0].interval`); empty for the whole text.
    :param code: the error code it would be raised under alone.
    """

    place: Place
    path: str
    message: str
    hint: str = ""
    code: str = ConfigError.code

    def text(self) -> str:
        """Return `file:line:column: path: message`."""
        return ": ".join(part for part in (str(self.place), self.path, self.message) if part)


class Broken(Exception):
    """The text cannot be read on; carries the problem."""

    def __init__(self, place: Place, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.problem = Problem(place, "", message, hint)


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the text and where it stands.

    :param value: a scalar, a dict of nodes or a list of nodes.
    :param key: where its key stands, for a value of a mapping.
    :param plain: an unquoted scalar; such a one may change its type by `${VAR}`.
    :param expanded: it holds text from the environment and is never shown.
    :param size: how many nodes it has, itself included.
    """

    value: Scalar | dict[str, Node] | list[Node]
    place: Place
    key: Place | None = None
    plain: bool = False
    expanded: bool = False
    size: int = field(default=1, compare=False)

    def data(self) -> Any:
        """Return the value without places."""
        if isinstance(self.value, dict):
            return {name: node.data() for name, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.data() for node in self.value]
        return self.value


def resolve(text: str) -> Scalar:
    """Return what an unquoted scalar means by the YAML 1.2 core schema (section 10.3.2)."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        base = 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10
        return int(text, base) if len(text) <= 40 else text
    return float(text) if _FLOAT.fullmatch(text) else text


def decode(raw: bytes, file: str) -> str:
    """Return the text of a file within the size limit.

    :raises Broken: too large, or not UTF-8.
    """
    start = Place(file, 1, 1)
    if len(raw) > BYTES_MAX:
        raise Broken(start, f"larger than {BYTES_MAX >> 20} MiB", "split it into several files")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise Broken(Place(file, line, 1), "not UTF-8 text", "save the file as UTF-8") from error


@functools.lru_cache(maxsize=32)  # the packs in use, which each reading of a configuration names
def parse(text: str, file: str) -> Node:
    """Return the one document of a text as a tree, not to be changed; an empty one is a mapping.

    :raises Broken: the text is no YAML 1.2, holds a tag, a key twice, or breaks a limit.
    """
    composer = _Composer(file)
    try:
        return composer.document(iter(YAML(typ="safe", pure=True).parse(text)))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
        raise Broken(place, f"not valid YAML: {error.problem or error.context}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        message = str(error).splitlines()[0]
        raise Broken(Place(file, 1, 1), f"not valid YAML: {message}") from error


class _Composer:
    """Builds nodes from events, counting as it goes."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.count = 0
        self.anchors: dict[str, Node | None] = {}  # None while the anchored value is open

    def place(self, event: Any) -> Place:
        return Place(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def document(self, events: Iterator[Any]) -> Node:
        next(events)
        event = next(events)
        if isinstance(event, StreamEndEvent):
            return Node({}, Place(self.file, 1, 1))
        assert isinstance(event, DocumentStartEvent)
        if event.version not in (None, (1, 2)):
            raise Broken(self.place(event), "only YAML 1.2 is read", "remove the %YAML line")
        root = self.node(next(events), events, 1)
        next(events)
        event = next(events)
        if not isinstance(event, StreamEndEvent):
            raise Broken(self.place(event), "a second document", "keep one document per file")
        return replace(root, value={}) if root.value is None else root

    def node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        place = self.place(event)
        if isinstance(event, AliasEvent):
            return self.alias(event, place)
        self.grow(1, place)
        if depth > DEPTH_MAX:
            raise Broken(place, f"nested more than {DEPTH_MAX} levels deep")
        if event.ctag is not None:
            raise Broken(place, f"tag {event.ctag} is not allowed", "write the value without a tag")
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        node = self.content(event, events, place, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def content(self, event: Any, events: Iterator[Any], place: Place, depth: int) -> Node:
        if isinstance(event, ScalarEvent):
            plain, text = event.style is None, self.text(event, place)
            return Node(resolve(text) if plain else text, place, plain=plain)
        if isinstance(event, SequenceStartEvent):
            items = []
            while not isinstance(event := next(events), SequenceEndEvent):
                items.append(self.node(event, events, depth + 1))
            return Node(items, place, size=1 + sum(item.size for item in items))
        assert isinstance(event, MappingStartEvent)
        return self.mapping(events, place, depth)

    def mapping(self, events: Iterator[Any], place: Place, depth: int) -> Node:
        found: dict[str, Node] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            name, where = self.name(event)
            if name in found:
                first = found[name].key
                line = first.line if first else 0
                raise Broken(where, f"key {name!r} is given twice", f"first on line {line}")
            found[name] = replace(self.node(next(events), events, depth + 1), key=where)
        return Node(found, place, size=1 + sum(node.size for node in found.values()))

    def name(self, event: Any) -> tuple[str, Place]:
        place = self.place(event)
        if not isinstance(event, ScalarEvent):
            raise Broken(place, "a key must be text")
        if event.ctag is not None:
            raise Broken(place, f"tag {event.ctag} is not allowed", "write the key without a tag")
        if event.value == "<<" and event.style is None:
            raise Broken(
                place,
                "YAML 1.2 has no merge key `<<`",
                "give the same file layers with several --config, which merge in order",
            )
        return self.text(event, place), place

    def text(self, event: ScalarEvent, place: Place) -> str:
        """Return the characters of a scalar; JSON's escapes spell some of them in two halves."""
        try:
            return str(event.value).encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError as error:
            raise Broken(place, "half a character: a lone surrogate is no text") from error

    def alias(self, event: AliasEvent, place: Place) -> Node:
        if event.anchor not in self.anchors:
            raise Broken(place, f"alias *{event.anchor} has no anchor before it")
        node = self.anchors[event.anchor]
        if node is None:
            raise Broken(place, f"alias *{event.anchor} contains itself")
        self.grow(node.size, place)
        return node

    def grow(self, more: int, place: Place) -> None:
        self.count += more
        if self.count > NODES_MAX:
            raise Broken(place, f"more than {NODES_MAX:,} values", "aliases count each time")
