"""Evaluate a condition over whole columns at once.

Most conditions compare numbers, states and names; these become a few NumPy operations over all
ticks and entities. What this small compiler does not understand runs in CEL, cell by cell, once
for each distinct input. Both give the same answer, including the error that absorbs or is
absorbed by `&&` and `||` as the CEL specification says; a property test holds them together.

A value is a pair: the answer, and the cells where it cannot be told because a metric is missing
(None where it always can). A condition is never true where it cannot be told.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from watchkeeper.model import STATES, Flags, Floats
from watchkeeper.policies._cel import DOUBLES, STRINGS, Condition
from watchkeeper.policies._tokens import Token, plain_string


class Cells(Protocol):
    """Columns of one shape: whole blocks [T, E], or a list of cells [N]."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of every column, after broadcasting."""

    def number(self, name: str) -> Floats:
        """Return health, coverage or score."""

    def code(self) -> Any:
        """Return the state of each cell as an index into STATES."""

    def text(self, name: str) -> Sequence[str]:
        """Return entity, entity_type or name, one element for each of the last axis."""

    def signal(self, metric: str) -> Floats:
        """Return the current score of a metric; NaN where it is missing."""


class Answer(NamedTuple):
    """Where a condition holds, and where that cannot be told. They exclude each other."""

    holds: Flags
    untold: Flags


Pair = tuple[Any, Any]
Run = Callable[[Cells], Pair]


class _Node(NamedTuple):
    kind: str  # number, truth, text
    run: Run
    said: Any = None  # the literal, or the variable's name when it is text


class _Beyond(Exception):
    """The expression is outside the subset; CEL itself must run it."""


_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_REFLECT = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
}  # fmt: skip


def evaluate(condition: Condition, cells: Cells, wanted: Flags) -> Answer:
    """Evaluate at the cells that are `wanted` (broadcast to the shape); false elsewhere."""
    program = _program(condition)
    if program is None:
        return _one_by_one(condition, cells, wanted)
    with np.errstate(all="ignore"):
        truth, untold = program(cells)
    holds = np.broadcast_to(truth, cells.shape) & wanted
    if untold is None:
        return Answer(holds, np.zeros(cells.shape, np.bool_))
    return Answer(holds, np.broadcast_to(untold, cells.shape) & wanted)


def vectorised(condition: Condition) -> bool:
    """Return whether the condition runs over columns, rather than cell by cell."""
    return _program(condition) is not None


@functools.lru_cache(maxsize=4096)
def _program(condition: Condition) -> Run | None:
    try:
        parser = _Parser(condition.words)
        node = parser.either()
        if parser.peek() or node.kind != "truth":
            return None
    except _Beyond:
        return None
    return node.run


def _one_by_one(condition: Condition, cells: Cells, wanted: Flags) -> Answer:
    shape = cells.shape
    columns: list[list[Any]] = []
    labels = sorted(condition.names - {"signal"})
    for name in labels:
        if name in DOUBLES:
            columns.append(np.broadcast_to(cells.number(name), shape)[wanted].tolist())
        elif name == "state":
            codes = np.broadcast_to(cells.code(), shape)[wanted].tolist()
            columns.append([str(STATES[code]) for code in codes])
        else:
            texts = np.array(cells.text(name), dtype=object)
            columns.append(np.broadcast_to(texts, shape)[wanted].tolist())
    for metric in condition.metrics:
        columns.append(np.broadcast_to(cells.signal(metric), shape)[wanted].tolist())
    count = int(wanted.sum())
    rows = list(zip(*columns, strict=True)) if columns else [()] * count
    memo: dict[tuple[str, ...], tuple[bool, bool]] = {}
    answers = []
    for row in rows:
        key = tuple(map(repr, row))  # NaN is not itself, and the two zeros are not the same
        if key not in memo:
            values: dict[str, Any] = dict(zip(labels, row, strict=False))
            scores = zip(condition.metrics, row[len(labels) :], strict=True)
            values["signal"] = {name: score for name, score in scores if score == score}
            holds, why_not = condition.holds(values)
            memo[key] = (holds, why_not != "")
        answers.append(memo[key])
    result = np.zeros((2, *shape), np.bool_)
    if answers:
        result[:, wanted] = np.array(answers, np.bool_).T
    return Answer(result[0], result[1])


class _Parser:
    """Recursive descent over the tokens; CEL has checked the types, so only the subset matters."""

    def __init__(self, words: Sequence[Token]) -> None:
        self.words, self.at = words, 0

    def peek(self) -> str:
        return self.words[self.at].text if self.at < len(self.words) else ""

    def take(self, *texts: str) -> str:
        if self.at < len(self.words) and self.words[self.at].kind in ("sign", "name"):
            text = self.words[self.at].text
            if text in texts:
                self.at += 1
                return text
        return ""

    def need(self, text: str) -> None:
        if not self.take(text):
            raise _Beyond

    def either(self) -> _Node:
        node = self.both()
        while self.take("||"):
            node = _junction(node, self.both(), any_of=True)
        return node

    def both(self) -> _Node:
        node = self.relation()
        while self.take("&&"):
            node = _junction(node, self.relation(), any_of=False)
        return node

    def relation(self) -> _Node:
        node = self.sum()
        while sign := self.take(*_COMPARE, "in"):
            if sign != "in":
                node = _comparison(sign, node, self.sum())
            elif self.take("signal"):
                node = _present(node)
            else:
                node = _member(node, self.listed())
        return node

    def listed(self) -> list[_Node]:
        self.need("[")
        found = [self.unary()]
        while self.take(","):
            found.append(self.unary())
        self.need("]")
        return found

    def sum(self) -> _Node:
        node = self.product()
        while sign := self.take("+", "-"):
            node = _arithmetic(sign, node, self.product())
        return node

    def product(self) -> _Node:
        node = self.unary()
        while sign := self.take("*", "/"):
            node = _arithmetic(sign, node, self.unary())
        return node

    def unary(self) -> _Node:
        if self.take("!"):
            return _negated(self.unary())
        if self.take("-"):
            return _minus(self.unary())
        node = self.primary()
        if self.peek() in (".", "[", "?", "("):
            raise _Beyond
        return node

    def primary(self) -> _Node:
        if self.at >= len(self.words):
            raise _Beyond
        word = self.words[self.at]
        self.at += 1
        if word.text == "(" and word.kind == "sign":
            node = self.either()
            self.need(")")
            return node
        if word.kind == "double":
            return _constant("number", float(word.text))
        if word.kind == "string":
            return _constant("text", _known(plain_string(word)))
        if word.kind != "name":
            raise _Beyond
        return self.variable(word.text)

    def variable(self, name: str) -> _Node:
        if name in ("true", "false"):
            return _constant("truth", name == "true")
        if name in DOUBLES:
            return _Node("number", lambda cells: (cells.number(name), None))
        if name in STRINGS:
            return _Node("text", _no_value, name)
        if name == "signal":
            return _signal(self.metric())
        raise _Beyond

    def metric(self) -> str:
        if self.take("["):
            word = self.words[self.at]
            self.at += 1
            self.need("]")
            return str(_known(plain_string(word)))
        self.need(".")
        self.at += 1
        return self.words[self.at - 1].text


def _known(value: str | None) -> str:
    if value is None:
        raise _Beyond
    return value


def _no_value(cells: Cells) -> Pair:
    raise AssertionError("text is compared, never computed with")


def _constant(kind: str, value: Any) -> _Node:
    return _Node(kind, lambda cells: (value, None), (value,))


def _signal(metric: str) -> _Node:
    def run(cells: Cells) -> Pair:
        score = cells.signal(metric)
        missing = np.isnan(score)
        return score, missing if missing.any() else None

    return _Node("number", run)


def _present(node: _Node) -> _Node:
    if node.kind != "text" or not isinstance(node.said, tuple):
        raise _Beyond
    return _Node("truth", lambda cells: (~np.isnan(cells.signal(node.said[0])), None))


def _union(left: Any, right: Any) -> Any:
    if left is None or right is None:
        return right if left is None else left
    return left | right


def _told(truth: Any, untold: Any) -> Pair:
    return (truth, None) if untold is None else (truth & ~untold, untold)


def _arithmetic(sign: str, left: _Node, right: _Node) -> _Node:
    if left.kind != "number" or right.kind != "number":
        raise _Beyond
    apply = _ARITHMETIC[sign]

    def run(cells: Cells) -> Pair:
        (a, no_a), (b, no_b) = left.run(cells), right.run(cells)
        return apply(np.float64(a), np.float64(b)), _union(no_a, no_b)

    return _Node("number", run)


def _minus(node: _Node) -> _Node:
    if node.kind != "number":
        raise _Beyond

    def run(cells: Cells) -> Pair:
        value, untold = node.run(cells)
        return np.negative(value), untold

    return _Node("number", run)


def _negated(node: _Node) -> _Node:
    if node.kind != "truth":
        raise _Beyond

    def run(cells: Cells) -> Pair:
        truth, untold = node.run(cells)
        return _told(np.logical_not(truth), untold)

    return _Node("truth", run)


def _comparison(sign: str, left: _Node, right: _Node) -> _Node:
    if left.kind == right.kind == "text":
        if isinstance(left.said, tuple):
            left, right, sign = right, left, _REFLECT[sign]
        if sign not in ("==", "!="):
            raise _Beyond
        equal = _text_in(left, [right])
        return equal if sign == "==" else _negated(equal)
    if left.kind != "number" or right.kind != "number":
        raise _Beyond
    compare = _COMPARE[sign]

    def run(cells: Cells) -> Pair:
        (a, no_a), (b, no_b) = left.run(cells), right.run(cells)
        return _told(compare(a, b), _union(no_a, no_b))

    return _Node("truth", run)


def _member(node: _Node, listed: list[_Node]) -> _Node:
    if node.kind == "text":
        return _text_in(node, listed)
    # An element that cannot be told makes the whole list so, unlike a chain of ==.
    if node.kind != "number" or not all(isinstance(item.said, tuple) for item in listed):
        raise _Beyond
    any_of = _comparison("==", node, listed[0])
    for item in listed[1:]:
        any_of = _junction(any_of, _comparison("==", node, item), any_of=True)
    return any_of


def _text_in(node: _Node, listed: list[_Node]) -> _Node:
    """Whether a text variable is one of some literals."""
    if isinstance(node.said, tuple):
        raise _Beyond
    if not all(item.kind == "text" and isinstance(item.said, tuple) for item in listed):
        raise _Beyond
    name, said = node.said, frozenset(item.said[0] for item in listed)
    if name == "state":
        codes = np.array([str(state) in said for state in STATES])
        return _Node("truth", lambda cells: (codes[cells.code()], None))

    def run(cells: Cells) -> Pair:
        texts = cells.text(name)
        return np.fromiter((text in said for text in texts), np.bool_, len(texts)), None

    return _Node("truth", run)


def _junction(left: _Node, right: _Node, *, any_of: bool) -> _Node:
    """`||` when any_of, else `&&`; as in CEL, the side that decides absorbs the other's error."""
    if left.kind != "truth" or right.kind != "truth":
        raise _Beyond

    def run(cells: Cells) -> Pair:
        (a, no_a), (b, no_b) = left.run(cells), right.run(cells)
        untold = _union(no_a, no_b)
        if any_of:
            truth = np.logical_or(a, b)
            return truth, None if untold is None else untold & ~truth
        truth = np.logical_and(a, b)
        if untold is None:
            return truth, None
        refused = _refused(a, no_a) | _refused(b, no_b)
        return truth, untold & ~refused

    return _Node("truth", run)


def _refused(truth: Any, untold: Any) -> Any:
    return np.logical_not(truth) if untold is None else ~(truth | untold)
