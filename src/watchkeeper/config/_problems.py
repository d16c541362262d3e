"""What is wrong with a configuration: every finding at its place, told at once."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pydantic

from watchkeeper.config._yaml import Node, Problem, Step
from watchkeeper.errors import ConfigError, ContractError, PolicyError, SecretError, UnknownKind

_KINDS: Mapping[str, type[ConfigError]] = {
    kind.code: kind for kind in (ConfigError, UnknownKind, ContractError, PolicyError, SecretError)
}
_SECRET_WORDS = ("secret", "password", "token", "key", "credential")
_SHOWN_MAX = 60


def refuse(problems: Sequence[Problem]) -> ConfigError:
    """Return one error that lists every problem; its class is theirs when they agree."""
    codes = {problem.code for problem in problems}
    kind = _KINDS[codes.pop()] if len(codes) == 1 else ConfigError
    if len(problems) == 1:
        return kind(problems[0].text(), hint=problems[0].hint)
    lines = [
        f"{problem.text()} ({problem.hint})" if problem.hint else problem.text()
        for problem in problems
    ]
    return kind("\n  ".join([f"{len(problems)} problems", *lines]))


def ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return problems by place, and only the first of several with one value.

    A value that could not be had (a variable that is not set) would be found wrong again later.
    """
    first: dict[object, Problem] = {}
    for one in problems:
        first.setdefault((one.place, one.path), one)
    return tuple(sorted(first.values(), key=lambda one: one.place))


def path_text(path: Iterable[Step]) -> str:
    """Return a path as people write it: `sources[0].interval`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def problem(
    node: Node, path: Sequence[Step], message: str, hint: str = "", code: str = ConfigError.code
) -> Problem:
    """Return a problem with the value of a node."""
    return Problem(node.place, path_text(path), message, hint, code)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a hint naming the nearest of the known words, and all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"{meant}known: {', '.join(names)}" if names else ""


def shown(node: Node, path: Sequence[Step]) -> str:
    """Return a value for a message; what may be a secret is never shown."""
    name = str(path[-1]).lower() if path else ""
    if node.expanded or any(word in name for word in _SECRET_WORDS):
        return "<secret>"
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    text = repr(node.value)
    if node.value is None or isinstance(node.value, bool):
        text = {None: "null", True: "true", False: "false"}[node.value]
    return text if len(text) <= _SHOWN_MAX else f"{text[: _SHOWN_MAX - 3]}..."


def translate(
    error: pydantic.ValidationError,
    root: Node,
    prefix: Sequence[Step],
    model: Any = None,
    code: str = ConfigError.code,
) -> list[Problem]:
    """Return pydantic's findings as problems with places.

    :param root: the node that was validated. :param prefix: where it hangs in the configuration.
    :param model: the pydantic model it was held to, to name the fields that exist.
    """
    return [_translated(detail, root, prefix, model, code) for detail in error.errors()]


def _translated(detail: Any, root: Node, prefix: Sequence[Step], model: Any, code: str) -> Problem:
    node, path = _walk(root, detail["loc"], detail["type"] == "missing")
    full = [*prefix, *path]
    if detail["type"] == "extra_forbidden":
        hint = suggestion(str(path[-1]), fields_at(model, path[:-1]))
        return Problem(node.key or node.place, path_text(full), "no such field", hint, code)
    if detail["type"] == "missing":
        return Problem(node.place, path_text(full), "is missing", "", code)
    message = f"{_plain(str(detail['msg']))}, got {shown(node, full)}"
    return Problem(node.place, path_text(full), message, "", code)


def _walk(root: Node, location: Sequence[Step], missing: bool) -> tuple[Node, list[Step]]:
    """Follow a location; steps that name a branch of a union are in no text and are left out."""
    node, path = root, list[Step]()
    for index, step in enumerate(location):
        below = _below(node, step)
        if below is not None or (missing and index == len(location) - 1):
            path.append(step)
        node = below or node
    return node, path


def _below(node: Node, step: Step) -> Node | None:
    if isinstance(node.value, dict):
        return node.value.get(str(step))
    if isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
        return node.value[step]
    return None


_WORDING = (
    ("Value error, ", ""),
    ("Assertion failed, ", ""),
    ("List should have", "must have"),
    ("String should have", "must have"),
    (" after validation, not 0", ""),
    ("Input should be", "must be"),
    ("a valid string", "text"),
    ("a valid integer", "a whole number"),
    ("a valid number", "a number"),
    ("a valid boolean", "true or false"),
    ("a valid list", "a list"),
    ("a valid tuple", "a list"),
    ("a valid array", "a list"),
    ("a valid dictionary", "a mapping"),
    ("an object", "a mapping"),
)


def _plain(message: str) -> str:
    """Return pydantic's message in the words of a configuration rather than of Python."""
    for theirs, ours in _WORDING:
        message = message.replace(theirs, ours)
    message = re.sub(r" or instance of \w+", "", message)
    return message[:1].lower() + message[1:]


def fields_at(model: Any, path: Sequence[Step]) -> list[str]:
    """Return the names a pydantic model, or a type made of them, takes at a path."""
    if isinstance(model, type) and issubclass(model, pydantic.BaseModel):
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if not path:
            return list(fields)
        below = fields.get(str(path[0]))
        return fields_at(below.annotation, path[1:]) if below else []
    union = typing.get_origin(model) in (typing.Union, types.UnionType, typing.Annotated)
    if not union and not path:
        return []
    rest = path if union else path[1:]
    return [name for part in typing.get_args(model) for name in fields_at(part, rest)]
