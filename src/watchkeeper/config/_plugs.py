"""Turn `{"type": kind, **fields}` into a plug. The only caller of `plugins.load`.

A plug is a dataclass; its fields are its configuration. Each value is held to its field's type
strictly (text is no number, a truth value is no number), with two readings for people: a number
whose `:param` line says that it is in seconds, milliseconds or bytes may also be written as a
duration (`1h30m`) or a size (`64MiB`). A text field `x` may be given as `x_file`, the file that
holds it. A field of type `Secret` may also be a reference into a store; see `_secrets.py`.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from watchkeeper import plugins
from watchkeeper.config import _secrets
from watchkeeper.config._problems import path_text, problem, refuse, shown, suggestion, translate
from watchkeeper.config._units import duration, size
from watchkeeper.config._yaml import BYTES_MAX, Node, Place, Problem, Step
from watchkeeper.errors import ConfigError, UnknownKind, WatchkeeperError
from watchkeeper.secrets import Keeper

Types = dict[str, Any]
AT_HAND = ("env", "file", "systemd")  # stores of secrets that need no configuration
_FACTS = ("version", "state_version")  # what a plug says about itself; not for operators to set
# `:param warn: below it, WARN; `warn_clear`: …` describes two fields.
_PARAM = re.compile(r"(?::param |; `)(\w+)`?:\s*(.*?)(?=:param |; `\w+`:|:raises |\Z)", re.DOTALL)


def build(family: str, spec: Mapping[str, Any]) -> Any:
    """Build one plug from `{"type": kind, **fields}`.

    :raises UnknownKind: no plug of the family has this type.
    :raises ConfigError: a field does not exist, is missing, or has a wrong value.
    """
    found: list[Problem] = []
    keeper = Keeper()
    keeper.adopt({kind: plugins.load("secrets", kind)() for kind in AT_HAND})
    node = tree(spec, Place(f"<{family}>", 1, 1))
    plug = assemble(family, node, (family,), found, keeper)
    if found:
        raise refuse(found)
    return plug


def tree(value: Any, place: Place) -> Node:
    """Return plain data as a tree whose every node is at one place."""
    if isinstance(value, Mapping):
        return Node({str(name): tree(below, place) for name, below in value.items()}, place)
    if isinstance(value, list | tuple):
        return Node([tree(below, place) for below in value], place)
    return Node(value, place)


def types_of(plug: Any) -> Types:
    """Return the configurable fields of a plug class and their types, in order."""
    hints = typing.get_type_hints(plug, include_extras=True)
    return {
        field.name: hints[field.name]
        for field in dataclasses.fields(plug)
        if field.init and not field.name.startswith("_") and field.name not in _FACTS
    }


def described(plug: Any) -> dict[str, str]:
    """Return what the docstring of a plug class says about each field."""
    found = _PARAM.findall(plug.__doc__ or "")
    return {name: " ".join(text.split()).rstrip(".") for name, text in found}


def required(plug: Any) -> list[str]:
    """Return the fields of a plug class that have no default."""
    missing = dataclasses.MISSING
    return [
        field.name
        for field in dataclasses.fields(plug)
        if field.init and field.default is missing and field.default_factory is missing
    ]


def assemble(
    family: str,
    node: Node,
    path: Sequence[Step],
    found: list[Problem],
    keeper: Keeper | None = None,
) -> Any:
    """Build one plug from a tree; None when problems were found, which are appended."""
    plug = _class(family, node, path, found)
    return None if plug is None else fill(plug, node, path, found, keeper)


def fill(
    plug: Any,
    node: Node,
    path: Sequence[Step],
    found: list[Problem],
    keeper: Keeper | None = None,
) -> Any:
    """Build a dataclass from a tree; None when problems were found, which are appended.

    :param keeper: who has the secrets that the tree refers to; None: it may not refer to any.
    """
    if not isinstance(node.value, dict):
        found.append(problem(node, path, f"must be a mapping, got {shown(node, path)}"))
        return None
    before = len(found)
    types, says = types_of(plug), described(plug)
    given = _with_files(node.value, types, path, found)
    fields = {
        name: _secrets.checked(child, types[name], (*path, name), found, keeper)
        if _secrets.holds(types[name])
        else _checked(child, types[name], says.get(name, ""), (*path, name), found)
        for name, child in given.items()
        if name in types
    }
    for name, child in given.items():
        if name not in types:
            hint = suggestion(name, types) or "it takes no fields"
            where = child.key or child.place
            found.append(Problem(where, path_text((*path, name)), "no such field", hint))
    for name in required(plug):
        if name not in given:
            found.append(problem(node, (*path, name), "is missing"))
    return None if len(found) > before else _made(plug, fields, node, path, found)


def _class(family: str, node: Node, path: Sequence[Step], found: list[Problem]) -> Any:
    kinds = ", ".join(plugins.kinds(family))
    if not isinstance(node.value, dict):
        found.append(
            problem(
                node,
                path,
                f"must be a mapping with a type, got {shown(node, path)}",
                f"for example {{type: ...}}; known types: {kinds}",
            )
        )
        return None
    kind = node.value.get("type")
    if kind is None:
        found.append(problem(node, (*path, "type"), "is missing", f"known types: {kinds}"))
        return None
    if not isinstance(kind.value, str):
        message = f"must be the name of a type, got {shown(kind, path)}"
        found.append(problem(kind, (*path, "type"), message, f"known types: {kinds}"))
        return None
    try:
        return plugins.load(family, kind.value)
    except UnknownKind as error:
        text = f"no such type {shown(kind, ())}"
        found.append(problem(kind, (*path, "type"), text, error.hint, UnknownKind.code))
        return None


def _with_files(
    given: Mapping[str, Node], types: Types, path: Sequence[Step], found: list[Problem]
) -> dict[str, Node]:
    """Return the fields without `type`, each `x_file` replaced by `x` and what the file holds."""
    fields: dict[str, Node] = {}
    for name, node in given.items():
        target = name.removesuffix("_file")
        if name == "type":
            continue
        if name in types or target == name or target not in types:
            fields[name] = node
        elif target in given:
            found.append(
                problem(node, (*path, name), f"given together with {target}", "keep one of the two")
            )
        elif _secrets.holds(types[target]):
            fields[target] = _secrets.in_a_file(node)
        else:
            fields[target] = _held(node, (*path, name), found)
    return fields


def _held(node: Node, path: Sequence[Step], found: list[Problem]) -> Node:
    """Return the first line of the file that a node names, relative to the node's own file."""
    try:
        file = Path(node.place.file).parent / str(node.value)
        with file.open("rb") as stream:
            text = stream.read(BYTES_MAX).decode().strip("\r\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        found.append(
            problem(
                node,
                path,
                f"cannot read {shown(node, ())}: {reason}",
                "relative paths start at the folder of the configuration file",
            )
        )
        text = ""
    return dataclasses.replace(node, value=text, plain=False, expanded=True)


def _checked(node: Node, kind: Any, says: str, path: Sequence[Step], found: list[Problem]) -> Any:
    """Return the value of a node as `kind`."""
    value = node.data()
    unit = unit_of(kind, says)
    if unit and isinstance(value, str):
        value = _UNITS[unit](value)
        if value is None:
            example = "a size such as 64MiB" if unit == "bytes" else "a duration such as 1h30m"
            message = f"must be {unit} or {example}, got {shown(node, path)}"
            found.append(problem(node, path, message))
            return None
    try:
        # JSON's strictness, not Python's: a list is a tuple and text is a path, text is no number.
        return adapter(kind).validate_json(json.dumps(value), strict=True)
    except pydantic.ValidationError as error:
        found.extend(translate(error, node, path, kind))
        return None


def adapter(kind: Any) -> pydantic.TypeAdapter[Any]:
    """Return the validator of one field type; infinities and NaN are refused."""
    own = isinstance(kind, type) and (
        dataclasses.is_dataclass(kind) or issubclass(kind, pydantic.BaseModel)
    )
    return pydantic.TypeAdapter(
        kind, config=None if own else pydantic.ConfigDict(allow_inf_nan=False)
    )


def unit_of(kind: Any, says: str) -> str | None:
    """Return the unit in which people may write a number: seconds, milliseconds, bytes, or none."""
    options = [part for part in typing.get_args(kind) if part is not type(None)]
    if len(options) == 1:
        kind = options[0]  # X | None
    if getattr(kind, "__supertype__", kind) not in (int, float):
        return None
    return next((unit for unit in _UNITS if re.search(rf"\b{unit}\b", says)), None)


def _seconds(text: str) -> float | None:
    millis = duration(text)
    return None if millis is None else millis / 1000


_UNITS: Mapping[str, Callable[[str], float | None]] = {
    "milliseconds": duration,
    "seconds": _seconds,
    "bytes": size,
}


def _made(
    plug: Any, fields: Mapping[str, Any], node: Node, path: Sequence[Step], found: list[Problem]
) -> Any:
    """Call the constructor; what it refuses is the operator's to fix."""
    try:
        return plug(**fields)
    except WatchkeeperError as error:
        code = error.code if isinstance(error, ConfigError) else ConfigError.code
        found.append(problem(node, path, str(error.args[0]), error.hint, code))
    except ValueError as error:
        found.append(problem(node, path, str(error)))
    return None
