"""Which column of a file means what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from watchkeeper.errors import UnknownLayout
from watchkeeper.sources._columns import ATTRIBUTES

TIME_NAMES = ("timestamp", "time", "ts", "datetime", "date", "_time", "@timestamp")
ENTITY_NAMES = ("entity", "host", "hostname", "instance")
METRIC_NAMES = ("metric", "metric_name", "__name__")
VALUE_NAMES = ("value",)

KNOWN = (
    "long: timestamp,entity,metric,value[,attribute…]; wide: timestamp[,entity],metric,metric,…; "
    "NAB: timestamp,value"
)
_TYPED = re.compile(r"[a-z][a-z0-9_]*:(?!:|[0-9]+$).")

Kind = Literal["auto", "long", "wide", "nab"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the operator said about the columns; empty where he leaves it to us."""

    layout: Kind = "auto"
    time: str = ""
    entity: str = ""  # column
    metric: str = ""
    value: str = ""
    attributes: tuple[str, ...] = ()
    fixed: str = ""  # the entity of every row
    entity_type: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """A file as results name it: independent of the folder in which the inputs lie.

    :param name: the path relative to the input folder, `/` between parts.
    :param stem: the file's own name without `.csv`, `.csv.gz` and the like.
    """

    name: str
    stem: str

    @property
    def series(self) -> str:
        """The relative path without the suffixes."""
        folder = self.name.rpartition("/")[0]
        return f"{folder}/{self.stem}" if folder else self.stem


@dataclass(frozen=True, slots=True)
class Layout:
    """The meaning of the columns of one file.

    :param entity: its column; None when all rows speak about `fixed`.
    :param metrics: columns that are metrics (wide, NAB); none in long.
    """

    kind: Literal["long", "wide", "nab"]
    time: str
    entity: str | None
    metric: str
    value: str
    attributes: tuple[str, ...]
    metrics: tuple[str, ...]
    fixed: str
    entity_type: str


def typed(entity: str, kind: str) -> str:
    """Return `type:name`: as given when it has a type, else with `kind` before it.

    `localhost:9100` is a host and its port, `fe80::1` an address; neither has a type.
    """
    return entity if _TYPED.match(entity) else f"{kind}:{entity}"


def find(columns: Sequence[str], wanted: Wanted, origin: Origin) -> Layout:
    """Say what the columns mean.

    :raises UnknownLayout: no layout fits, or a column named by the operator is not there.
    """
    _all_named(columns, wanted, origin)
    time = wanted.time or _first(columns, TIME_NAMES)
    if time is None:
        raise _unknown(columns, origin, f"no time column ({', '.join(TIME_NAMES)})")
    metric = wanted.metric or _first(columns, METRIC_NAMES)
    value = wanted.value or _first(columns, VALUE_NAMES)
    kind = wanted.layout
    if kind == "auto":
        if metric and value:
            kind = "long"
        else:
            kind = "nab" if value and set(columns) == {time, value} else "wide"
    entity = wanted.entity or _first(columns, ENTITY_NAMES)
    if wanted.fixed or kind == "nab":
        entity = None if not wanted.entity else entity
    rest = [one for one in columns if one not in (time, entity)]
    if kind == "long":
        if not metric or not value:
            raise _unknown(columns, origin, "long needs a column metric and a column value")
        attributes = tuple(one for one in rest if one not in (metric, value))
        metrics: tuple[str, ...] = ()
    else:
        attributes = tuple(one for one in rest if one in wanted.attributes or one == ATTRIBUTES)
        metrics = tuple(one for one in rest if one not in attributes)
        if not metrics:
            raise _unknown(columns, origin, "no column holds a metric")
        if kind == "nab" and metrics != (value,):
            raise _unknown(columns, origin, "NAB has the columns timestamp and value only")
    of_kind = wanted.entity_type or ("series" if kind == "nab" else "host")
    fixed = wanted.fixed or (origin.series if kind == "nab" else origin.stem)
    return Layout(
        kind, time, entity, metric or "", value or "", attributes, metrics,
        typed(fixed, of_kind), of_kind,
    )  # fmt: skip


def refuse_text(layout: Layout, text_columns: Sequence[str], origin: Origin) -> None:
    """Refuse a wide file whose metric columns hold text and nothing else.

    :raises UnknownLayout: naming them; they may be attributes, or the file is something else.
    """
    wrong = [one for one in text_columns if one in layout.metrics]
    if layout.kind == "wide" and wrong:
        raise UnknownLayout(
            f"{origin.name}: unknown column {', '.join(map(repr, wrong))}: text, and no attribute",
            hint="name it under `attributes` if it describes the series; known layouts: " + KNOWN,
        )


def _all_named(columns: Sequence[str], wanted: Wanted, origin: Origin) -> None:
    if len(set(columns)) < len(columns) or not all(columns):
        raise _unknown(columns, origin, "every column needs a name of its own")
    said = (wanted.time, wanted.entity, wanted.metric, wanted.value, *wanted.attributes)
    missing = [one for one in said if one and one not in columns]
    if missing:
        raise _unknown(columns, origin, f"no column {', '.join(map(repr, missing))}")


def _first(columns: Sequence[str], names: Sequence[str]) -> str | None:
    lower = {column.lower(): column for column in reversed(columns)}
    return next((lower[name] for name in names if name in lower), None)


def _unknown(columns: Sequence[str], origin: Origin, why: str) -> UnknownLayout:
    found = ", ".join(repr(column[:40]) for column in columns[:20])
    more = f" and {len(columns) - 20} more" if len(columns) > 20 else ""
    return UnknownLayout(
        f"{origin.name}: {why}; the columns are {found}{more}", hint=f"known layouts: {KNOWN}"
    )
