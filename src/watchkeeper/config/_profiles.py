"""Profiles: what differs between a place to try things, one to rehearse in, and production.

A profile is a layer between the defaults and the operator's files, so whatever a file says holds.
Production is what the defaults are, and shuts one thing more. `docs/configuration.md` has the same
table, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from watchkeeper.config._plugs import tree
from watchkeeper.config._problems import problem, suggestion
from watchkeeper.config._yaml import Node, Place, Problem

VARIABLE = "WATCHKEEPER_PROFILE"
NAMES = ("dev", "staging", "prod")


class Difference(NamedTuple):
    """One value that is not the same everywhere; `path` is where it stands, `a.b`."""

    path: str
    dev: Any
    staging: Any
    prod: Any
    why: str


DIFFERENCES = (
    Difference("dry_run", True, False, False,
               "what is tried out decides, and acts on nothing"),
    Difference("access.anonymous", "local", "local", "none",
               "on a production host other users and programs show who they are too"),
    Difference("access.environment", "dev", "staging", "prod",
               "a token of one is not taken by another"),
    Difference("log.level", "debug", "info", "info",
               "all there is to see, where nobody keeps it"),
    Difference("log.format", "text", "json", "json",
               "people read it at a desk, machines elsewhere"),
    Difference("reserve.size", 64 << 20, 512 << 20, 512 << 20,
               "a test ends in order with less, and its disk is small"),
    Difference("tracing.sample", 1.0, 0.25, 0.05,
               "every trace of a few; a share of many costs little"),
)  # fmt: skip


def named(
    layers: list[Node], env: Mapping[str, str], over: Sequence[Node], found: list[Problem]
) -> Node | None:
    """Return the layer of the profile that is asked for; None without one.

    The command line comes before the environment, and that before the files; what the environment
    says is added to `layers` as one more of them.
    """
    if told := env.get(VARIABLE, ""):
        layers.append(tree({"profile": told}, Place(f"${VARIABLE}", 1, 1)))
    said = [
        one.value["profile"]
        for one in (*layers, *over)
        if isinstance(one.value, dict) and "profile" in one.value
    ]
    name: object = said[-1].value if said else ""
    if not isinstance(name, str) or not name:
        return None  # what is no text is found with the other fields
    if name not in NAMES:
        hint = suggestion(name, NAMES)
        found.append(problem(said[-1], ("profile",), f"no such profile {name!r}", hint))
        return None
    return tree(data(name), Place(f"<profile {name}>", 1, 1))


def data(name: str) -> dict[str, Any]:
    """Return what a profile says, as a configuration says it."""
    fields: dict[str, Any] = {}
    for one in DIFFERENCES:
        section, _, field = one.path.rpartition(".")
        (fields.setdefault(section, {}) if section else fields)[field] = getattr(one, name)
    return fields
