"""Put texts together: substitute the environment, then merge files in order.

Merging, from the first file to the last: mappings merge key by key; lists replace, but lists
whose every element is a mapping with a `name` merge by that name, in order of first appearance;
a mapping that changes its `type` replaces the older one, whose fields belonged to another plug.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from watchkeeper.config._problems import problem
from watchkeeper.config._yaml import Node, Problem, Step, resolve

_PATTERN = re.compile(r"\$\$|\$\{([^{}]*)\}|\$\{")
_BODY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:-|:\?)(.*))?", re.DOTALL)
_VERBATIM = ("when", "clear")  # of a policy: what a condition says must be readable in its text


def substitute(
    node: Node, env: Mapping[str, str], found: list[Problem], path: tuple[Step, ...] = ()
) -> Node:
    """Return the tree with `${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `$$` replaced.

    Only scalars change, after parsing, so a value can add no structure. An unquoted scalar is
    read again by the same rules as in the text (`${PORT}` may be a number); a quoted one stays
    text. Keys and the conditions of policies are left alone.
    """
    if isinstance(node.value, dict):
        below = {
            name: child
            if path[:1] == ("policies",) and name in _VERBATIM
            else substitute(child, env, found, (*path, name))
            for name, child in node.value.items()
        }
        return replace(node, value=below)
    if isinstance(node.value, list):
        items = [substitute(item, env, found, (*path, i)) for i, item in enumerate(node.value)]
        return replace(node, value=items)
    if not isinstance(node.value, str) or "$" not in node.value:
        return node
    text, touched = _replaced(node, node.value, env, found, path)
    value = resolve(text) if node.plain and touched else text
    return replace(node, value=value, expanded=touched)


def _replaced(
    node: Node, text: str, env: Mapping[str, str], found: list[Problem], path: tuple[Step, ...]
) -> tuple[str, bool]:
    touched = False

    def one(match: re.Match[str]) -> str:
        nonlocal touched
        if match[0] == "$$":
            return "$"
        body = _BODY.fullmatch(match[1]) if match[1] is not None else None
        if body is None:
            hint = "write ${NAME}, ${NAME:-default}, ${NAME:?message}, or $$ for a dollar sign"
            found.append(problem(node, path, f"{match[0]!r} is no variable", hint))
            return ""
        touched = True
        name, operator, rest = body.groups()
        value = env.get(name, "")
        if value or (operator is None and name in env):
            return value
        if operator == ":-":
            return str(rest)
        said = f": {rest}" if operator == ":?" and rest else " is not set"
        hint = f"set it, or write ${{{name}:-default}}"
        found.append(problem(node, path, f"environment variable {name}{said}", hint))
        return ""

    return _PATTERN.sub(one, text), touched


def merge(older: Node, newer: Node) -> Node:
    """Return `newer` laid over `older` by the rules of this module."""
    first, second = older.value, newer.value
    if isinstance(first, dict) and isinstance(second, dict):
        if "type" in second and "type" in first and _data(second, "type") != _data(first, "type"):
            return newer
        merged = {
            name: merge(node, second[name]) if name in second else node
            for name, node in first.items()
        }
        return replace(newer, value=merged | {k: v for k, v in second.items() if k not in first})
    if isinstance(first, list) and isinstance(second, list):
        old, new = _by_name(first), _by_name(second)
        if old is not None and new is not None:
            by_name = {
                name: merge(node, new[name]) if name in new else node for name, node in old.items()
            }
            return replace(
                newer, value=[*(by_name | {k: new[k] for k in new if k not in old}).values()]
            )
    return newer


def merge_all(layers: Sequence[Node]) -> Node:
    """Return all layers merged, the last one winning."""
    result = layers[0]
    for layer in layers[1:]:
        result = merge(result, layer)
    return result


def _data(mapping: Mapping[str, Node], name: str) -> object:
    return mapping[name].data()


def _by_name(items: Sequence[Node]) -> dict[str, Node] | None:
    """Return the elements by name; None when one has no name or two share one."""
    named: dict[str, Node] = {}
    for item in items:
        name = item.value.get("name") if isinstance(item.value, dict) else None
        if name is None or not isinstance(name.value, str) or name.value in named:
            return None
        named[name.value] = item
    return named
