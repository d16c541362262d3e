"""Rows of a database as readings: columns as files have them, and where to read on from.

A mark is the last value of the cursor column, with its type: `["datetime","2026-01-02T03:04:05"]`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

import pyarrow as pa

from watchkeeper.errors import InputError
from watchkeeper.model import Millis, canonical
from watchkeeper.sources import Collected
from watchkeeper.sources._assemble import assemble
from watchkeeper.sources._layout import TIME_NAMES, Origin, Wanted, find, refuse_text

NOW = "asked_at"  # the column of rows that have no time of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question to a database, and what its columns mean.

    :param name: unique in its source; what people know it by.
    :param sql: one SELECT; `:cursor` in it is where the answer before ended.
    :param layout: `long` (a row a value) or `wide` (a column a metric); told from the columns.
    :param entity: the entity of every row, when no column says it; the database unless said.
    :param entity_type: put before entities without a type.
    :param time_column: which column holds the time; found by its name, else it is now.
    :param entity_column: which column holds the entity; found by its name.
    :param metric_column: which column of long rows holds the metric's name.
    :param value_column: which column of long rows holds the value.
    :param attribute_columns: columns of wide rows that describe a series instead of being one.
    :param cursor_column: the column that `:cursor` follows; it grows from row to row.
    :param cursor_start: what `:cursor` is at first.
    """

    name: str
    sql: str
    layout: Literal["auto", "long", "wide"] = "auto"
    entity: str = ""
    entity_type: str = "host"
    time_column: str = ""
    entity_column: str = ""
    metric_column: str = ""
    value_column: str = ""
    attribute_columns: tuple[str, ...] = ()
    cursor_column: str = ""
    cursor_start: int | float | str = ""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  as pydantic reads it

    def begin(self, mark: str) -> Any:
        """Return the value of `:cursor` after a mark."""
        if not mark:
            return self.cursor_start
        kind, text = json.loads(mark)
        return _READ[kind](text)


_READ: Mapping[str, Callable[[Any], Any]] = {
    "int": int, "float": float, "str": str, "Decimal": Decimal,
    "datetime": datetime.fromisoformat, "date": date.fromisoformat,
}  # fmt: skip


@dataclass(slots=True)
class Answered:
    """What a database answered. :param cut: there was more than the limits allow."""

    columns: list[str]
    rows: list[Sequence[Any]]
    cut: bool = False


def read(query: Query, said: Answered, entity: str, where: str, at: Millis) -> Collected:
    """Return rows as columns of readings.

    :param entity: the database's own. :param where: for quarantine. :param at: when it was asked.
    :raises InputError: the columns cannot be told apart, or the cursor cannot follow them.
    """
    if len(set(said.columns)) < len(said.columns):
        raise InputError(f"{where}: every column needs a name of its own", hint="write AS")
    mark = _followed(query, said, where)
    columns: dict[str, Any] = {
        name: _column([row[n] for row in said.rows]) for n, name in enumerate(said.columns)
    }
    if query.cursor_column not in (query.time_column, *TIME_NAMES):
        columns.pop(query.cursor_column, None)  # it says where to read on, not how anything is
    if not query.time_column and not any(name.lower() in TIME_NAMES for name in columns):
        columns[NOW] = pa.array([at] * len(said.rows), pa.timestamp("ms"))
    wanted = Wanted(
        layout=query.layout,
        time=query.time_column or (NOW if NOW in columns else ""),
        entity=query.entity_column,
        metric=query.metric_column,
        value=query.value_column,
        attributes=query.attribute_columns,
        fixed=query.entity,
        entity_type=query.entity_type,
    )
    origin = Origin(where, entity)
    layout = find(list(columns), wanted, origin)
    texts = [name for name, column in columns.items() if pa.types.is_string(column.type)]
    refuse_text(layout, [one for one in texts if _no_number(columns[one])], origin)
    count = len(said.rows)
    parts = assemble(
        layout, columns, count, lambda rows: [f"{where}: row {row + 1}" for row in rows], ()
    )
    return Collected(*parts, whole=not query.cursor_column, mark=mark)


def _followed(query: Query, said: Answered, where: str) -> str:
    """Return the mark after the rows; of rows that were cut off, keep those it can stand behind."""
    if not query.cursor_column or not said.rows:
        return ""
    if query.cursor_column not in said.columns:
        raise InputError(f"{where}: no column {query.cursor_column!r}", hint="select it")
    place = said.columns.index(query.cursor_column)
    values = [row[place] for row in said.rows]
    try:
        last = max(values)
        if said.cut:
            if any(a > b for a, b in itertools.pairwise(values)):
                raise InputError(
                    f"{where}: more rows than fit, and not in order of {query.cursor_column}",
                    hint=f"add ORDER BY {query.cursor_column}",
                )
            kept = [n for n, value in enumerate(values) if value != last]
            if not kept:
                raise InputError(
                    f"{where}: more rows than fit have one {query.cursor_column}",
                    hint="raise rows_max, or follow a column that tells them apart",
                )
            said.rows, last = [said.rows[n] for n in kept], values[kept[-1]]
    except TypeError:
        raise InputError(
            f"{where}: {query.cursor_column} holds nothing, or several kinds of value",
            hint="follow a column that is never NULL",
        ) from None
    kind = type(last).__name__
    if kind not in _READ:
        raise InputError(f"{where}: cannot follow a column of {kind}", hint="follow time or number")
    return canonical([kind, last if kind in ("int", "float", "str") else _written(last)])


def _written(value: date | Decimal) -> str:
    return str(value) if isinstance(value, Decimal) else value.isoformat()


def _column(values: list[Any]) -> Any:
    """Return values as one column; of several kinds, as text."""
    try:
        column = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        column = pa.array([None if one is None else str(one) for one in values], pa.string())
    if pa.types.is_null(column.type):
        return column.cast(pa.float64())
    known = (
        pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal,
        pa.types.is_string, pa.types.is_timestamp, pa.types.is_date,
    )  # fmt: skip
    if any(one(column.type) for one in known):
        return column
    return pa.array([None if one is None else str(one) for one in values], pa.string())


def _no_number(column: Any) -> bool:
    texts = [one for one in column.to_pylist() if one]
    return bool(texts) and not any(_is_number(one) for one in texts)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
