"""From text to a house, strictly: every mistake at once, each with its line and what to do.

`load` reads files and folders in order, `default` needs none; both give a `Config` whose parts
are alive. `rulebook` is the part of it that judges, as a document for the journal, and
`read_rulebook` brings that document back to life. `docs/configuration.md` is for operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pydantic

from watchkeeper import plugins
from watchkeeper.access.settings import Access, OpenId, Tls
from watchkeeper.actions import Action
from watchkeeper.config import _ladder, _packs, _profiles
from watchkeeper.config._layers import merge_all, substitute
from watchkeeper.config._packs import document
from watchkeeper.config._plugs import assemble, build, fill
from watchkeeper.config._problems import ordered, problem, refuse, shown, suggestion, translate
from watchkeeper.config._rulebook import carried_on, compose, read_rulebook, without_acts
from watchkeeper.config._schema import DIALECT, schema
from watchkeeper.config._settings import TOLD, Listen, Settings, defaults, read_listen
from watchkeeper.config._units import duration as read_duration
from watchkeeper.config._written import Change, Written, written
from watchkeeper.config._yaml import Node, Place, Problem, parse
from watchkeeper.contracts import Contract
from watchkeeper.core.state import Rulebook
from watchkeeper.engines import Engine
from watchkeeper.flags import Switch, needed
from watchkeeper.observe.settings import Exposed, Log, Tracing
from watchkeeper.policies import Policy
from watchkeeper.receivers import Limits, Receiver
from watchkeeper.reports import History, Schedule
from watchkeeper.secrets import Keeper
from watchkeeper.sources import Source
from watchkeeper.store.reserve import Reserve
from watchkeeper.store.retention import Retention

__all__ = [
    "DIALECT",
    "Change",
    "Config",
    "Listen",
    "Problem",
    "build",
    "carried_on",
    "default",
    "document",
    "known_flags",
    "load",
    "of_profile",
    "read_duration",
    "read_listen",
    "read_rulebook",
    "rulebook",
    "schema",
    "shipped_packs",
    "survey",
    "survey_pack",
    "without_acts",
]


@dataclass(frozen=True, slots=True)
class Config:
    """One house as configured.

    :param rules: what everything is judged by. :param data: folder of journal and ledger.
    :param profile: which one lies under the files; empty without. :param dry_run: nothing is owed.
    :param reserve: what is left free of that folder's disk. :param retention: of the journal.
    :param switches: the flag of each source, by the source's name.
    :param experimental: configured detectors that no flag switches on.
    :param reports: those that are made again and again. :param history: what Parquet gets.
    :param actions: what policies may do, by name. :param files: what was read, in order.
    :param log: how the house logs. :param tracing: where traces go. :param metrics: what is told.
    :param keeper: who has the secrets, and renews them while they are in use.
    :param written: every value by its path, to tell what a reload changes.
    :param climbed: what was done to files of an older version, a line each.
    """

    rules: Rulebook
    profile: str
    dry_run: bool
    data: Path
    reserve: Reserve
    retention: Retention
    listen: Listen
    access: Access
    openid: OpenId
    tls: Tls
    packs: tuple[str, ...]
    receivers: tuple[Receiver, ...]
    limits: Limits
    sources: tuple[Source, ...]
    switches: Mapping[str, Switch]
    experimental: tuple[str, ...]
    reports: tuple[Schedule, ...]
    history: History
    actions: Mapping[str, Action]
    engine: Engine
    log: Log
    tracing: Tracing
    metrics: Exposed
    files: tuple[Path, ...]
    keeper: Keeper
    written: Written
    climbed: tuple[str, ...] = ()


def load(
    paths: Sequence[Path],
    env: Mapping[str, str],
    overlay: str = "",
    keeper: Keeper | None = None,
) -> Config:
    """Return the configuration of files and folders (`*.yaml`, `*.yml`, by name), in order.

    :param env: what `${VAR}` refers to. :param overlay: one more layer of YAML, over the files.
    :param keeper: who had the secrets of an earlier reading, and goes on to have them.
    :raises ConfigError: with every problem that was found, each with its place and a hint.
    """
    config, problems = survey(paths, env, overlay, keeper)
    if config is None:
        raise refuse(problems)
    return config


def default() -> Config:
    """Return the configuration without any file: this host's telemetry, on loopback only."""
    return load((), {})


def survey(
    paths: Sequence[Path],
    env: Mapping[str, str],
    overlay: str = "",
    keeper: Keeper | None = None,
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
    layers, climbed = _ladder.climb(layers)
    over = [parse(overlay, "<command line>")] if overlay else []
    if layers:
        profile = _profiles.named(layers, env, over, found)
        layers = [*([profile] if profile else []), *layers, *over]
    keeper = keeper or Keeper()
    before = keeper.stores
    config = _assembled(layers, env, files, found, keeper) if layers else None
    config = replace(config, climbed=climbed) if config is not None else None
    if found:
        keeper.adopt(before)  # what was configured before goes on to hold
    return (None if found else config), ordered(found)


def survey_pack(folder: Path) -> tuple[str, tuple[Problem, ...]]:
    """Return the name of a pack (`host@1`) and everything that is wrong with it."""
    found: list[Problem] = []
    contract = _packs.read_contract(folder, found)
    file = folder / "policies.yaml"
    for index, node in enumerate(_packs.policy_file(file, {}, found) if file.exists() else ()):
        _packs.read_policy(node, ("policies", index), found)
    name = f"{contract.name}@{contract.version}" if contract else str(folder)
    return name, ordered(found)


def shipped_packs() -> list[Path]:
    """Return the folders of the packs that come with the program."""
    return list(_packs.shipped().values())


def of_profile(config: Config) -> dict[str, str]:
    """Return what holds where profiles differ, by path; nothing without a profile."""
    paths = [one.path for one in _profiles.DIFFERENCES] if config.profile else []
    return {path: config.written.values[path][0] for path in paths}


def rulebook(config: Config) -> dict[str, Any]:
    """Return what everything is judged by as a document for the journal."""
    return dict(config.rules.document)


def _files(paths: Sequence[Path], found: list[Problem]) -> tuple[Path, ...]:
    files: list[Path] = []
    for path in paths:
        try:
            inside = sorted(path.iterdir()) if path.is_dir() else [path]
        except OSError as error:
            place = Place(str(path), 1, 1)
            found.append(Problem(place, "", f"cannot read the folder: {error.strerror}"))
            continue
        texts = [file for file in inside if file == path or file.suffix in (".yaml", ".yml")]
        if not texts:
            found.append(Problem(Place(str(path), 1, 1), "", "no *.yaml in this folder"))
        files += texts
    return tuple(files)


def _assembled(
    layers: Sequence[Node],
    env: Mapping[str, str],
    files: tuple[Path, ...],
    found: list[Problem],
    keeper: Keeper,
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
    detectors = _built("detectors", parts["detectors"], found)
    health = assemble("health", parts["health"], ("health",), found)
    _stores(parts["secrets"], found, keeper)
    actions = _named("actions", parts["actions"], found, keeper)
    receivers = _built("receivers", parts["receivers"], found, keeper)
    limits = fill(Limits, parts["limits"], ("limits",), found)
    kept = {"reserve": Reserve, "retention": Retention, "history": History}
    reserve, retention, history = (fill(kept[n], parts[n], (n,), found) for n in kept)
    access = fill(Access, parts["access"], ("access",), found)
    openid = fill(OpenId, parts["openid"], ("openid",), found)
    tls = fill(Tls, parts["tls"], ("tls",), found)
    sources = _built("sources", parts["sources"], found, keeper)
    nodes = enumerate(_items(parts["reports"]))
    reports = [fill(Schedule, node, ("reports", index), found) for index, node in nodes]
    engine = assemble("engines", parts["engine"], ("engine",), found)
    log, tracing, metrics = (fill(TOLD[name], parts[name], (name,), found, keeper) for name in TOLD)
    _check_names(sources, parts["sources"], "sources", found)
    _check_names(receivers, parts["receivers"], "receivers", found)
    _check_names([one for one in reports if one], parts["reports"], "reports", found)
    _check_routes(receivers, parts["receivers"], found)
    _check_flags(parts["flags"], policies, found)
    if found or settings is None:
        return None
    flags = settings.flags
    switches = {
        source.name: Switch(f"source.{kind}", getattr(source, "at_home", False))
        for source, kind in zip(sources, _kinds(_items(parts["sources"])), strict=True)
    }
    detectors, asleep = _awake(detectors, _kinds(_items(parts["detectors"])), flags)
    kinds = {name: str(node.data()["type"]) for name, node in _mapping(parts["actions"]).items()}
    needs = {name: needed(action, "action", kinds[name]) for name, action in actions.items()}
    needs = {name: flag for name, flag in sorted(needs.items()) if flag}
    rules = compose(settings.tick, contracts, detectors, health, policies, flags, needs)
    data, packs = Path(settings.data), tuple(settings.packs)
    return Config(
        rules, settings.profile, settings.dry_run, data, reserve, retention, settings.listen,
        access, openid, tls, packs, tuple(receivers), limits, tuple(sources), switches, asleep,
        tuple(reports), history, actions, engine, log, tracing, metrics, files, keeper,
        written(root),
    )  # fmt: skip


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
    policies = []
    for node in _items(_packs.lay_over(theirs, parts["policies"], found)):
        where = ("policies", _packs.name_of(node))
        policy = _packs.read_policy(node, where, found)
        if policy is not None:
            policies.append(policy)
            _check_actions(policy, node, where, parts["actions"], found)
    return contracts, policies


def _mapping(node: Node) -> Mapping[str, Node]:
    """Return the fields of a mapping; what is no mapping was found already."""
    return node.value if isinstance(node.value, dict) else {}


def _items(node: Node) -> list[Node]:
    """Return the elements of a list; what is no list was found already."""
    return node.value if isinstance(node.value, list) else []


def _built(
    family: str, node: Node, found: list[Problem], keeper: Keeper | None = None
) -> list[Any]:
    """Build the plugs of a list."""
    built = (
        assemble(family, item, (family, i), found, keeper) for i, item in enumerate(_items(node))
    )
    return [plug for plug in built if plug is not None]


def _named(family: str, node: Node, found: list[Problem], keeper: Keeper) -> dict[str, Any]:
    """Build the plugs of a mapping; None for those that cannot be."""
    named = _mapping(node)
    return {
        name: assemble(family, item, (family, name), found, keeper) for name, item in named.items()
    }


def _stores(node: Node, found: list[Problem], keeper: Keeper) -> None:
    """Build the stores of secrets, last those that are opened with a secret of another."""
    named = _mapping(node)
    stores: dict[str, Any] = {}
    for name in sorted(named, key=lambda name: _refers(named[name])):
        store = assemble("secrets", named[name], ("secrets", name), found, keeper)
        if store is not None:
            stores[name] = store
            keeper.add(name, store)
    keeper.adopt(stores)


def _refers(node: Node) -> bool:
    return any(isinstance(child.value, dict) for child in _mapping(node).values())


def _awake(
    detectors: Sequence[Any], kinds: Sequence[str], flags: Mapping[str, bool]
) -> tuple[list[Any], tuple[str, ...]]:
    """Return the detectors without those that are experimental and off, and the types of those."""
    wanted = [needed(one, "detector", kind) for one, kind in zip(detectors, kinds, strict=True)]
    on = [not flag or flags.get(flag, False) for flag in wanted]
    awake = [one for one, is_on in zip(detectors, on, strict=True) if is_on]
    return awake, tuple(kind for kind, is_on in zip(kinds, on, strict=True) if not is_on)


def _kinds(nodes: Sequence[Node]) -> list[str]:
    """Return the types of plugs that were built."""
    return [str(node.data()["type"]) for node in nodes]


def _check_names(plugs: Sequence[Any], node: Node, family: str, found: list[Problem]) -> None:
    """Two of one name would share one cursor in the journal."""
    names = [plug.name for plug in plugs]
    for name in sorted({name for name in names if names.count(name) > 1}):
        message, hint = f"two {family} are named {name!r}", "each needs a name of its own"
        found.append(problem(node, (family,), message, hint))


def _check_routes(receivers: Sequence[Receiver], node: Node, found: list[Problem]) -> None:
    """Two receivers cannot listen at one place."""
    routes = [route for receiver in receivers for route in receiver.routes]
    for route in sorted({route for route in routes if routes.count(route) > 1}):
        message = f"two receivers listen at {route.method} {route.path}"
        found.append(problem(node, ("receivers",), message, "give one another path"))


def known_flags(policies: Sequence[Policy]) -> list[str]:
    """Return every flag that switches something: of plugs, and what policies name."""
    families = (("source", "sources"), ("action", "actions"), ("detector", "detectors"))
    of_plugs = [f"{word}.{kind}" for word, family in families for kind in plugins.kinds(family)]
    return sorted({*of_plugs, *(policy.flag for policy in policies if policy.flag)})


def _check_flags(node: Node, policies: Sequence[Policy], found: list[Problem]) -> None:
    """A flag nobody knows would silently switch nothing."""
    known = known_flags(policies)
    for name, child in _mapping(node).items():
        if name not in known:
            hint = suggestion(name, known) or f"known flags: {', '.join(known)}"
            found.append(problem(child, ("flags", name), f"no such flag {name!r}", hint))


def _check_actions(
    policy: Policy, node: Node, path: tuple[str, ...], actions: Node, found: list[Problem]
) -> None:
    """Every action that a policy names exists."""
    assert isinstance(node.value, dict)
    known = actions.value if isinstance(actions.value, dict) else {}
    for name in policy.action:
        if name not in known:
            place = node.value.get("action", node)
            hint = suggestion(name, known)
            found.append(problem(place, (*path, "action"), f"no such action {name!r}", hint))
