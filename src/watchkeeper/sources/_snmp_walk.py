"""Walk columns of SNMP tables by GETBULK (RFC 3416, section 4.2.3), and survive agents that loop.

Several columns are walked at once. An agent may answer with less than was asked for (its message
is full), so every column goes on where its own last answer ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from watchkeeper.errors import InputError

Oid = tuple[int, ...]
Value = int | bytes | Oid
Rows = dict[Oid, Value]  # by index, in the order of the agent
Tables = dict[Oid, Rows]  # by column

_WIDEST = 64  # bits


class Bound(NamedTuple):
    """One name and its value in an answer. :param value: None at the end of what there is."""

    oid: Oid
    value: Value | None


Ask = Callable[[Sequence[Oid], int], Awaitable[Sequence[Bound]]]


async def walk(ask: Ask, columns: Sequence[Oid], bulk: int, rows_max: int) -> Tables:
    """Return all rows of some columns.

    :param ask: what follows each of some names, in so many rounds, flat: round by round.
    :param bulk: rounds of one question. :param rows_max: rows one column may have.
    :raises InputError: the agent's names do not grow, or there is no end to them.
    """
    found: Tables = {column: {} for column in columns}
    last = {column: column for column in columns}  # of the columns that are not at their end
    while last:
        asked = list(last)
        answers = await ask([last[column] for column in asked], bulk)
        if not answers:
            raise InputError("the agent answers without a value", hint="is it an SNMP agent?")
        for number, (oid, value) in enumerate(answers):
            column = asked[number % len(asked)]
            if column not in last:
                continue  # it ended in this very answer
            if value is None or oid[: len(column)] != column:
                del last[column]
                continue
            if oid <= last[column]:
                raise InputError(
                    f"the agent goes in circles: after {dotted(last[column])} it names "
                    f"{dotted(oid)}",
                    hint="a fault of the agent; its vendor may have mended it",
                )
            last[column] = oid
            found[column][oid[len(column) :]] = value
            if len(found[column]) > rows_max:
                raise InputError(
                    f"more than {rows_max} rows in {dotted(column)}", hint="raise rows_max"
                )
    return found


def whole(number: int) -> Value:
    """Return an integer; as text, which is no number, when it is wider than any of SNMP.

    The widest is Counter64 (RFC 2578, section 7.1.10), but an agent may send one of any length.
    """
    return number if number.bit_length() <= _WIDEST else f"{number:#x}".encode()


def dotted(oid: Oid) -> str:
    """Return a name as people write it."""
    return ".".join(map(str, oid))
