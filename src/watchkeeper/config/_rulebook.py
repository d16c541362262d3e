"""The rulebook: everything the pure core judges by, as one document and as live parts.

The document goes into the journal whole, so a replay years later needs no configuration file. It
holds no path, no secret and no host name: only what changes a score, a health or a decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from watchkeeper import contracts, plugins, policies
from watchkeeper.config._plugs import build, types_of
from watchkeeper.core.state import HASHES, Rulebook
from watchkeeper.detectors import Detector
from watchkeeper.detectors._ensemble import Ensemble
from watchkeeper.errors import StoreVersion
from watchkeeper.health import HealthModel
from watchkeeper.model import Millis, canonical

SCHEMA = 2  # of 1, which names no hash of scores, all else is the same
SCORES = "blake3"  # three times as fast as SHA-256 by the processor's own instructions
_VERSIONS = ("version", "state_version")


def compose(
    tick: Millis,
    catalogues: Sequence[contracts.Contract],
    detectors: Sequence[Detector[Any]],
    health: HealthModel[Any],
    rules: Sequence[policies.Policy],
    flags: Mapping[str, bool],
    needs: Mapping[str, str],
) -> Rulebook:
    """Return a rulebook of live parts, its document written out with every default.

    Flags are left out while there are none.
    """
    document = {
        "schema": SCHEMA,
        "tick_ms": tick,
        "contracts": [_full(one) for one in catalogues],
        "detectors": [_spec("detectors", one) for one in detectors],
        "health": _spec("health", health),
        "policies": [_full(one) for one in rules],
        "scores": SCORES,
    }
    document |= {"flags": dict(flags)} if flags else {}
    document |= {"needs": dict(needs)} if needs else {}
    canonical(document)  # refuses at once what the journal could not spell
    ensemble = Ensemble(tuple(detectors))
    parts = (tuple(catalogues), ensemble, health, tuple(rules))
    return Rulebook(document, tick, *parts, dict(flags), dict(needs), SCORES)


def without_acts(rules: Rulebook) -> Rulebook:
    """Return the same rulebook with every policy in dry run: it decides and owes nothing."""
    calm = [policy.model_copy(update={"mode": "dry_run"}) for policy in rules.policies]
    return compose(
        rules.tick, rules.contracts, rules.ensemble.detectors, rules.health, calm, rules.flags,
        rules.needs,
    )  # fmt: skip


def read_rulebook(document: Mapping[str, Any]) -> Rulebook:
    """Rebuild a rulebook from a document of this or an older release.

    :raises StoreVersion: this release cannot read the document, or has only another version of
        one of its methods, which would score differently.
    :raises ConfigError: a part of it no longer exists.
    """
    scores = _hash_of(document)
    return Rulebook(
        document,
        Millis(document["tick_ms"]),
        tuple(contracts.read(one, "rulebook") for one in document["contracts"]),
        Ensemble(tuple(_rebuilt("detectors", spec) for spec in document["detectors"])),
        _rebuilt("health", document["health"]),
        tuple(policies.read(one, "rulebook") for one in document["policies"]),
        document.get("flags", {}),
        document.get("needs", {}),
        scores,
    )


def _hash_of(document: Mapping[str, Any]) -> str:
    """Return which hash names the scores. :raises StoreVersion: this release does not know it."""
    schema, name = document.get("schema"), document.get("scores")
    if schema == 1:
        return "sha256"
    if schema == SCHEMA and name in HASHES:
        return str(name)
    wrong = f"rulebook schema {schema!r}; this release reads 1 to {SCHEMA}"
    if schema == SCHEMA:
        wrong = f"rulebook: scores are hashed with {name!r}; this release knows {', '.join(HASHES)}"
    raise StoreVersion(wrong, hint="replay with the release that wrote it")


def carried_on(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a rulebook of an older release as one of today's, with the methods of today.

    What it says of them stays; one that this release reads as it is comes back unchanged.

    :raises StoreVersion: a newer release wrote it. :raises ConfigError: a part no longer exists.
    """
    try:
        read_rulebook(document)
    except StoreVersion:
        _hash_of(document)
        today = {
            **document,
            "detectors": [_of_today("detectors", spec) for spec in document["detectors"]],
            "health": _of_today("health", document["health"]),
        }
        read_rulebook(today)
        return today
    return document


def _of_today(family: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    plug = build(family, {name: spec[name] for name in spec if name not in _VERSIONS})
    newer = [name for name in _VERSIONS if name in spec and spec[name] > getattr(plug, name)]
    if newer:
        raise StoreVersion(
            f"rulebook: {family} {spec['type']!r} has {newer[0]} {spec[newer[0]]}; this release has"
            f" {getattr(plug, newer[0])}",
            hint="a newer release wrote it, and there is no way back: use that release",
        )
    return _spec(family, plug)


def _full(document: contracts.Contract | policies.Policy) -> dict[str, Any]:
    written: dict[str, Any] = document.model_dump(mode="json", by_alias=True)
    return written


def _spec(family: str, plug: Any) -> dict[str, Any]:
    """Return `{"type": kind, "version": …, **fields}` with every default written out."""
    fields = {name: getattr(plug, name) for name in types_of(type(plug))}
    versions = {name: getattr(plug, name) for name in _VERSIONS if hasattr(plug, name)}
    return fields | versions | {"type": _kind(family, plug)}


def _kind(family: str, plug: Any) -> str:
    """Return the name a plug has in configurations: its file's, or else its entry point's."""
    package, _, module = type(plug).__module__.rpartition(".")
    if package == f"watchkeeper.{family}":
        return str(module)
    return next(kind for kind in plugins.kinds(family) if plugins.load(family, kind) is type(plug))


def _rebuilt(family: str, spec: Mapping[str, Any]) -> Any:
    plug = build(family, {name: spec[name] for name in spec if name not in _VERSIONS})
    for name in _VERSIONS:
        if name in spec and getattr(plug, name) != spec[name]:
            raise StoreVersion(
                f"rulebook: {family} {spec['type']!r} has {name} {spec[name]}; "
                f"this release has {getattr(plug, name)}",
                hint="replay with the release that wrote it, or carry the folder on:"
                " `watchkeeper migrate`",
            )
    return plug
