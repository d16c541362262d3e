"""Write down why: the clauses of a condition with their values, and what the guards said.

Thousands of decisions can fall in one tick, when a whole site goes down. So the values of all of
them are gathered as columns, and the canonical JSON is put together from parts that are spelled
once a policy; a test compares the spelling with `model.canonical`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from json.encoder import encode_basestring

import numpy as np

from watchkeeper.model import STATES, Contribution
from watchkeeper.policies._cel import DOUBLES, Condition, condition
from watchkeeper.policies._columns import Cells, evaluate
from watchkeeper.policies._guards import Verdict

TOP = 5  # contributions an order carries


def text(value: str) -> str:
    """Return a JSON string, spelled as `model.canonical` does."""
    return encode_basestring(value)


def number(value: float | None) -> str:
    """Return a JSON number; null for None and for what is not finite."""
    if value is None or value - value != 0.0:
        return "null"
    return float.__repr__(value)


@functools.lru_cache(maxsize=1024)
def rfc3339(millis: int) -> str:
    """Return a time as RFC 3339 in UTC with milliseconds."""
    return f"{np.datetime_as_string(np.datetime64(millis, 'ms'))}Z"


def clauses(wanted: Condition, part: str, cells: Cells) -> list[str]:
    """Return, for each of N cells, the JSON objects of the condition's clauses, comma-joined."""
    columns = [_clause(condition(clause), part, cells) for clause in wanted.clauses]
    if len(columns) == 1:
        return columns[0]
    return [",".join(row) for row in zip(*columns, strict=True)]


def _clause(clause: Condition, part: str, cells: Cells) -> list[str]:
    count = cells.shape[0]
    answer = evaluate(clause, cells, np.ones(count, np.bool_))
    names = {name: _spelled(name, cells) for name in clause.names - {"signal"}}
    names |= {
        f'signal["{metric}"]': [number(score) for score in cells.signal(metric).tolist()]
        for metric in clause.metrics
    }
    labels = [text(name) for name in sorted(names)]
    head = f',"part":"{part}","text":{text(clause.text)},"values":{{'
    values: list[str] = [""] * count
    for label, name in zip(labels, sorted(names), strict=True):
        comma = "," if label != labels[0] else ""
        values = [f"{row}{comma}{label}:{v}" for row, v in zip(values, names[name], strict=True)]
    note = ',"note":"cannot be told: no current score, or not a number"'
    return [
        f'{{"held":{"true" if held else "false"}{note if untold else ""}{head}{row}}}}}'
        for held, untold, row in zip(
            answer.holds.tolist(), answer.untold.tolist(), values, strict=True
        )
    ]


def _spelled(name: str, cells: Cells) -> list[str]:
    if name in DOUBLES:
        return [number(value) for value in cells.number(name).tolist()]
    if name == "state":
        names = [text(str(state)) for state in STATES]
        return [names[code] for code in cells.code().tolist()]
    return [text(value) for value in cells.text(name)]


def guards(verdicts: Sequence[Verdict]) -> str:
    """Return the JSON list of what guards said."""
    return ",".join(
        [
            f'{{"limit":"{v.limit}","name":"{v.name}","observed":"{v.observed}",'
            f'"verdict":"{"pass" if v.blocks is None else "block"}"}}'
            for v in verdicts
        ]
    )


def contributions(parts: Sequence[Contribution]) -> str:
    """Return the JSON list of the largest contributions."""
    return ",".join(
        [
            f'{{"attributes":{part.attributes or "{}"},"metric":{text(part.metric)},'
            f'"share":{number(part.share)}}}'
            for part in parts[:TOP]
        ]
    )
