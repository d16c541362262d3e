"""Feature flags: what may reach out, what may act, what is experimental.

A flag is on or off. A configuration says so, and people flip flags while the house runs; the newest
word wins. Flips are control inputs of the journal, so this is a fold over it: the pure core asks
here, and a replay finds every flag as it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from watchkeeper.model import Control, canonical

CONTROL = "flag"  # the kind of a flip in the journal


@dataclass(frozen=True)
class Flags:
    """Every flag of which anything was said.

    :param configured: what the configuration says. :param flipped: what was said since.
    """

    configured: Mapping[str, bool] = field(default_factory=dict)
    flipped: Mapping[str, bool] = field(default_factory=dict)

    def on(self, name: str, default: bool = False) -> bool:
        """Return whether a flag is on; `default` when nobody said."""
        return self.flipped.get(name, self.configured.get(name, default))

    def take(self, control: Control) -> Flags:
        """Return the flags after one flip."""
        said = json.loads(control.body)
        return Flags(self.configured, {**self.flipped, str(said["flag"]): bool(said["on"])})

    def adopt(self, configured: Mapping[str, bool]) -> Flags:
        """Return the flags under another configuration.

        A flip goes on to hold until the configuration says something else than it did before.
        """
        before = self.configured
        kept = {n: on for n, on in self.flipped.items() if before.get(n) == configured.get(n)}
        return Flags(dict(configured), kept)


def flip(name: str, on: bool, actor: str, reason: str) -> Control:
    """Return the control input that switches a flag."""
    return Control(CONTROL, actor, canonical({"flag": name, "on": on, "reason": reason}))


class Gate(NamedTuple):
    """What a policy asks: the flags, and which flag each action needs.

    :param needs: by the action's name; an action that is not in it needs none.
    """

    flags: Flags
    needs: Mapping[str, str]

    def wanted(self, own: str, actions: Iterable[str]) -> tuple[str, ...]:
        """Return the flags that a policy needs: its own, and those of its actions."""
        names = [own, *(self.needs.get(action, "") for action in actions)]
        return tuple(sorted({name for name in names if name}))

    def off(self, wanted: Iterable[str]) -> tuple[str, ...]:
        """Return those of some flags that are off."""
        return tuple(name for name in wanted if not self.flags.on(name))


class Switch(NamedTuple):
    """The flag that switches one thing, and what holds when nobody said."""

    flag: str
    default: bool


OPEN = Gate(Flags(), {})  # nothing was said, and no action needs a flag


def needed(plug: Any, family: str, kind: str) -> str:
    """Return the flag that a plug needs; empty for one that stays at home.

    Sources and actions that leave this host need one; so does what says that it is experimental.
    """
    if getattr(plug, "experimental", False):
        return f"{family}.{kind}"
    if family == "detector" or getattr(plug, "at_home", False):
        return ""
    return f"{family}.{kind}"
