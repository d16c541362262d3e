"""Read packs and policy files into documents that know their places."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from watchkeeper import contracts, policies
from watchkeeper.config._layers import merge, substitute
from watchkeeper.config._problems import (
    fields_at,
    ordered,
    path_text,
    problem,
    refuse,
    shown,
    suggestion,
    translate,
)
from watchkeeper.config._yaml import BYTES_MAX, Broken, Node, Place, Problem, Step, decode, parse
from watchkeeper.errors import ConfigError, ContractError, PolicyError

SHIPPED = Path(__file__).parents[1] / "packs"
_NAME = re.compile(r"([a-z][a-z0-9_-]*)@([0-9]+)")

M = TypeVar("M", bound=pydantic.BaseModel)


def shipped() -> dict[str, Path]:
    """Return the folders of the packs that come with the program, by name."""
    return {path.parent.name: path.parent for path in sorted(SHIPPED.glob("*/contract.yaml"))}


def read_file(
    path: Path, found: list[Problem], named: tuple[Node, Sequence[Step]] | None = None
) -> Node | None:
    """Return the tree of a file; None when it cannot be read, which is then found.

    :param named: the value that names the file, and its path, when it is in a configuration.
    """
    place, where = (named[0].place, named[1]) if named else (Place(str(path), 1, 1), ())
    try:
        with path.open("rb") as stream:
            raw = stream.read(BYTES_MAX + 1)
        return parse(decode(raw, str(path)), str(path))
    except OSError as error:
        message = f"cannot read {str(path)!r}: {error.strerror}"
        found.append(Problem(place, path_text(where), message))
    except Broken as error:
        found.append(error.problem)
    return None


def folder_of(name: Node, path: Sequence[Step], found: list[Problem]) -> Path | None:
    """Return the folder of one pack named in a configuration."""
    text = str(name.value)
    if "/" in text:
        folder = Path(name.place.file).parent / text
        if (folder / "contract.yaml").is_file():
            return folder
        found.append(problem(name, path, f"no contract.yaml in {shown(name, ())}"))
        return None
    match = _NAME.fullmatch(text)
    known = shipped()
    if match is None or match[1] not in known:
        hint = suggestion(text.partition("@")[0], known)
        found.append(
            problem(
                name,
                path,
                f"no such pack {shown(name, ())}",
                f"{hint}; write name@version, or the path of a folder",
            )
        )
        return None
    return known[match[1]]


def read_contract(folder: Path, found: list[Problem]) -> contracts.Contract | None:
    """Return the contract of a pack."""
    node = read_file(folder / "contract.yaml", found)
    if node is None:
        return None
    return _live(node, (), contracts.read, contracts.Contract, ContractError.code, found)


def document(path: Path, model: type[M]) -> M:
    """Return the document of a file that stands for itself.

    :raises ConfigError: it cannot be used as written; every mistake with its line.
    """
    found: list[Problem] = []
    node = read_file(path, found)
    read = node and _live(
        node, (), lambda said, _: model.model_validate(said), model, ConfigError.code, found
    )
    if not read:
        raise refuse(ordered(found))
    return read


def read_policy(node: Node, path: Sequence[Step], found: list[Problem]) -> policies.Policy | None:
    """Return one policy."""
    return _live(node, path, policies.read, policies.Policy, PolicyError.code, found)


def policy_layer(layer: Node, env: Mapping[str, str], found: list[Problem]) -> Node:
    """Return a configuration layer whose `policies` are inline, read from the files they name.

    What cannot be merged by name is found here and left out.
    """
    assert isinstance(layer.value, dict)
    listed = layer.value.get("policies")
    if listed is None or not isinstance(listed.value, list):
        return layer
    inline: list[Node] = []
    for index, item in enumerate(listed.value):
        if isinstance(item.value, str):
            file = Path(item.place.file).parent / item.value
            inline += policy_file(file, env, found, (item, ("policies", index)))
        elif _named(item, ("policies", index), found):
            inline.append(item)
    policies_node = replace(listed, value=list[Node](inline))
    return replace(layer, value=layer.value | {"policies": policies_node})


def policy_file(
    file: Path,
    env: Mapping[str, str],
    found: list[Problem],
    named: tuple[Node, Sequence[Step]] | None = None,
) -> list[Node]:
    """Return the policies of a file: a list, or a mapping whose `policies` is a list."""
    root = read_file(file, found, named)
    if root is None:
        return []
    listed = root
    if isinstance(root.value, dict):
        for name in root.value.keys() - {"policies", "version"}:
            where = root.value[name].key or root.place
            hint = suggestion(name, ("policies", "version"))
            found.append(Problem(where, name, "no such field", hint, PolicyError.code))
        listed = root.value.get("policies", root)
    if not isinstance(listed.value, list):
        found.append(
            problem(listed, ("policies",), "must be a list of policies", code=PolicyError.code)
        )
        return []
    wrapped = replace(root, value={"policies": listed})
    expanded = substitute(wrapped, env, found).value
    assert isinstance(expanded, dict)
    items = expanded["policies"].value
    assert isinstance(items, list)
    return [item for i, item in enumerate(items) if _named(item, ("policies", i), found)]


def lay_over(shipped_ones: Sequence[Node], own: Node, found: list[Problem]) -> Node:
    """Return the packs' policies with a configuration's own laid over them by name."""
    first = _distinct(shipped_ones, found)
    second = _distinct(own.value if isinstance(own.value, list) else [], found)
    return merge(replace(own, value=first), replace(own, value=second))


def name_of(policy: Node) -> str:
    """Return the name of a policy that has one."""
    assert isinstance(policy.value, dict)
    return str(policy.value["name"].value)


def _distinct(items: Sequence[Node], found: list[Problem]) -> list[Node]:
    named: dict[str, Node] = {}
    for item in items:
        assert isinstance(item.value, dict)
        name = item.value["name"]
        first = named.setdefault(str(name.value), item)
        if first is not item:
            found.append(
                problem(
                    name,
                    ("policies",),
                    f"policy {name.value!r} is given twice",
                    f"first at {first.place}",
                    PolicyError.code,
                )
            )
    return list(named.values())


def _named(item: Node, path: Sequence[Step], found: list[Problem]) -> bool:
    name = item.value.get("name") if isinstance(item.value, dict) else None
    if name is not None and isinstance(name.value, str):
        return True
    if not isinstance(item.value, dict):
        message = f"must be a policy or the path of a file, got {shown(item, path)}"
        found.append(problem(item, path, message, code=PolicyError.code))
    elif name is None:
        found.append(problem(item, (*path, "name"), "is missing", code=PolicyError.code))
    else:
        message = f"must be text, got {shown(name, path)}"
        found.append(problem(name, (*path, "name"), message, code=PolicyError.code))
    return False


def _live(
    node: Node,
    path: Sequence[Step],
    read: Callable[[Mapping[str, Any], str], M],
    model: type[M],
    code: str,
    found: list[Problem],
) -> M | None:
    """Hold a document to its family's model."""
    if not isinstance(node.value, dict):
        found.append(
            problem(
                node,
                path,
                f"must be a mapping, got {shown(node, path)}",
                suggestion("", fields_at(model, ())),
                code,
            )
        )
        return None
    try:
        return read(node.data(), str(node.place))
    except pydantic.ValidationError as error:
        found.extend(translate(error, node, path, model, code))
    except ConfigError as error:
        message = str(error.args[0]).removeprefix(f"{node.place}: ")
        found.append(Problem(node.place, path_text(path), message, error.hint, error.code))
    return None
