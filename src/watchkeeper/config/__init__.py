"""From text to a house, strictly: every mistake at once, each with its line and what to do.

`load` reads files and folders in order, `default` needs none; both give a `Config` whose parts
are alive. `rulebook` is the part of it that judges, as a document for the journal, and
`read_rulebook` brings that document back to life. `docs/configuration.md` is for operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from watchkeeper.actions import Action
from watchkeeper.config import _packs
from watchkeeper.config._layers import merge_all, substitute
from watchkeeper.config._plugs import assemble, build
from watchkeeper.config._problems import problem, refuse, shown, suggestion, translate
from watchkeeper.config._rulebook import compose, read_rulebook
from watchkeeper.config._schema import schema
from watchkeeper.config._settings import Listen, Settings, defaults, read_listen
from watchkeeper.config._yaml import Node, Place, Problem, parse
from watchkeeper.contracts import Contract
from watchkeeper.engines import Engine
from watchkeeper.policies import Policy
from watchkeeper.sources import Source
from watchkeeper.state import Rulebook

__all__ = [
    "Config",
    "Listen",
    "Problem",
    "build",
    "default",
    "load",
    "read_listen",
    "read_rulebook",
    "rulebook",
    "schema",
    "survey",
    "survey_pack",
]


@dataclass(frozen=True, slots=True)
class Config:
    """One house as configured.

    :param rules: what everything is judged by. :param data: folder of journal and ledger.
    :param actions: what policies may do, by name. :param files: what was read, in order.
    """

    rules: Rulebook
    data: Path
    listen: Listen
    packs: tuple[str, ...]
    sources: tuple[Source, ...]
    actions: Mapping[str, Action]
    engine: Engine
    files: tuple[Path, ...]


def load(paths: Sequence[Path], env: Mapping[str, str]) -> Config:
    """Return the configuration of files and folders (`*.yaml`, `*.yml`, by name), in order.

    :param env: what `${VAR}` refers to.
    :raises ConfigError: with every problem that was found, each with its place and a hint.
    """
    config, problems = survey(paths, env)
    if config is None:
        raise refuse(problems)
    return config


def default() -> Config:
    """Return the configuration without any file: this host's telemetry, on loopback only."""
    return load((), {})


def survey(
    paths: Sequence[Path], env: Mapping[str, str]
) -> tuple[Config | None, tuple[Problem, ...]]:
    """Return the configuration, or else everything that is wrong with it."""
    found: list[Problem] = []
    layers: list[Node] = []
    files = _files(paths, found)
    if not paths:
        layers.append(parse("version: 1", "<defaults>"))
    for file in files:
        root = _packs.read_file(file, found)
        if root is not None and not isinstance(root.value, dict):
            found.append(problem(root, (), f"must be a mapping, got {shown(root, ())}"))
        elif root is not None:
            layers.append(substitute(root, env, found))
    config = _assembled(layers, env, files, found) if layers else None
    return (None if found else config), tuple(found)


def survey_pack(folder: Path) -> tuple[str, tuple[Problem, ...]]:
    """Return the name of a pack (`host@1`) and everything that is wrong with it."""
    found: list[Problem] = []
    contract = _packs.read_contract(folder, found)
    file = folder / "policies.yaml"
    for index, node in enumerate(_packs.policy_file(file, {}, found) if file.exists() else ()):
        _packs.read_policy(node, ("policies", index), found)
    name = f"{contract.name}@{contract.version}" if contract else str(folder)
    return name, tuple(found)


def rulebook(config: Config) -> dict[str, Any]:
    """Return what everything is judged by as a document for the journal."""
    return dict(config.rules.document)


def _files(paths: Sequence[Path], found: list[Problem]) -> tuple[Path, ...]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix in (".yaml", ".yml"))
            if not inside:
                place = Place(str(path), 1, 1)
                found.append(Problem(place, "", "no *.yaml in this folder"))
            files += inside
        else:
            files.append(path)
    return tuple(files)


def _assembled(
    layers: Sequence[Node], env: Mapping[str, str], files: tuple[Path, ...], found: list[Problem]
) -> Config | None:
    """Merge the layers over the defaults and bring every part to life."""
    root = merge_all([defaults(), *(_packs.policy_layer(layer, env, found) for layer in layers)])
    try:
        settings = Settings.model_validate(root.data())
    except pydantic.ValidationError as error:
        found.extend(translate(error, root, (), Settings))
        settings = None
    parts = root.value
    assert isinstance(parts, dict)
    contracts, policies = _packed(parts, env, found)
    detectors = _plugs("detectors", parts["detectors"], found)
    health = assemble("health", parts["health"], ("health",), found)
    actions = _actions(parts["actions"], found)
    sources = _plugs("sources", parts["sources"], found)
    engine = assemble("engines", parts["engine"], ("engine",), found)
    _check_sources(sources, parts["sources"], found)
    _check_actions(policies, parts["actions"], found)
    if found or settings is None:
        return None
    rules = compose(settings.tick, contracts, detectors, health, policies)
    data, packs = Path(settings.data), tuple(settings.packs)
    return Config(rules, data, settings.listen, packs, tuple(sources), actions, engine, files)


def _packed(
    parts: Mapping[str, Node], env: Mapping[str, str], found: list[Problem]
) -> tuple[list[Contract], list[Policy]]:
    """Read the packs, and lay the configuration's own policies over theirs."""
    contracts, theirs = list[Contract](), list[Node]()
    for index, name in enumerate(_items(parts["packs"])):
        path = ("packs", index)
        folder = _packs.folder_of(name, path, found)
        contract = _packs.read_contract(folder, found) if folder else None
        if folder is None or contract is None:
            continue
        contracts.append(contract)
        if "/" not in str(name.value) and name.value != contract.label:
            hint = f"this release has {contract.label}"
            found.append(problem(name, path, f"no such pack {shown(name, ())}", hint))
        file = folder / "policies.yaml"
        theirs += _packs.policy_file(file, env, found) if file.exists() else []
    merged = _packs.lay_over(theirs, parts["policies"], found)
    read = [
        _packs.read_policy(node, ("policies", _packs.name_of(node)), found)
        for node in _items(merged)
    ]
    return contracts, [policy for policy in read if policy is not None]


def _items(node: Node) -> list[Node]:
    """Return the elements of a list; what is no list was found already."""
    return node.value if isinstance(node.value, list) else []


def _plugs(family: str, node: Node, found: list[Problem]) -> list[Any]:
    built = (assemble(family, item, (family, i), found) for i, item in enumerate(_items(node)))
    return [plug for plug in built if plug is not None]


def _actions(node: Node, found: list[Problem]) -> dict[str, Action]:
    named = node.value if isinstance(node.value, dict) else {}
    return {
        name: assemble("actions", item, ("actions", name), found) for name, item in named.items()
    }


def _check_sources(sources: Sequence[Source], node: Node, found: list[Problem]) -> None:
    """Two sources of one name would share one cursor in the journal."""
    names = [source.name for source in sources]
    for name in sorted({name for name in names if names.count(name) > 1}):
        found.append(
            problem(
                node,
                ("sources",),
                f"two sources are named {name!r}",
                "each needs a name of its own",
            )
        )


def _check_actions(policies: Sequence[Policy], node: Node, found: list[Problem]) -> None:
    """Every action that a policy names exists."""
    known = node.value if isinstance(node.value, dict) else {}
    for policy in policies:
        for name in policy.action:
            if name not in known:
                message = f"policy {policy.name!r} names no such action {name!r}"
                found.append(problem(node, ("actions",), message, suggestion(name, known)))
