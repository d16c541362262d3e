"""Which part of a house a report is about: some of its entities, and some of its time."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from watchkeeper.errors import InputError
from watchkeeper.model import Millis
from watchkeeper.reports._findings import Facts


@dataclass(frozen=True, slots=True)
class Scope:
    """What to look at; everything, unless said.

    :param entity: one entity. :param group: a type of entities (`host`), or a label that one of
        their series has (`rack=r7`).
    :param since: begin of the window. :param until: its end.
    :param last: how long the window is, when there is no `since`.
    """

    entity: str = ""
    group: str = ""
    since: Millis | None = None
    until: Millis | None = None
    last: Millis | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all entities are looked at."""
        return not (self.entity or self.group)

    def of(self, facts: Facts) -> Facts:
        """Return the facts with the window and the scope in them."""
        until = self.until if self.until is not None else facts.until
        since = self.since
        if since is None:
            begin = facts.since if self.last is None else max(facts.since, until - self.last)
            since = Millis(begin)
        return replace(facts, since=since, until=until, scope=self.entity or self.group)

    def members(
        self,
        entities: Sequence[str],
        owner: npt.NDArray[Any],
        labels: Sequence[str],
        label: npt.NDArray[Any],
    ) -> list[str]:
        """Return the entities that are looked at.

        :param owner: of each series, its entity. :param label: its attributes, one of `labels`.
        :raises InputError: there is no such.
        """
        if self.entity:
            found = [self.entity] if self.entity in entities else []
            return found or _none("entity", self.entity, entities)
        name, is_label, value = self.group.partition("=")
        if not is_label:
            kinds = [one.partition(":")[0] for one in entities]
            found = [one for one, kind in zip(entities, kinds, strict=True) if kind == self.group]
            return found or _none("group", self.group, sorted(set(kinds)))
        told = [json.loads(text) for text in labels]
        has = np.array([one.get(name) == value for one in told], np.bool_)
        rows = np.unique(owner[has[label]]) if len(labels) else ()
        known = sorted({f"{key}={one[key]}" for one in told for key in one})
        return [entities[int(row)] for row in rows] or _none("group", self.group, known)


def _none(what: str, name: str, known: Sequence[str]) -> list[str]:
    near = difflib.get_close_matches(name, known, 3) or known[:5]
    raise InputError(f"no {what} {name!r} in this journal", hint=f"known: {', '.join(near)}, …")
