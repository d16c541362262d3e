"""Conditions in CEL, held to what a policy may say.

The library type-checks; this adds what it leaves open: the result must be true or false, an error
value is never truthy, the cost has a bound before it runs, and a refusal says what to write
instead. The library stops a loop by itself after 10,000 iterations.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cel_expr_python import cel

from watchkeeper.model import STATES
from watchkeeper.policies import _tokens

DOUBLES = ("health", "coverage", "score")
STRINGS = ("state", "entity", "entity_type", "name")
VARIABLES = frozenset((*DOUBLES, *STRINGS, "signal"))
MISSING = "NOT_FOUND"  # how the library's error text begins when a map has no such key

_PLACE = re.compile(r"<input>:(-?\d+):(-?\d+): (.*)")
_OVERLOAD = re.compile(r"no matching overload for '(\S+)' applied to '\((.*)\)'")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """A checked expression.

    :param metrics: whose anomaly scores it reads. :param names: which variables it reads.
    :param clauses: its parts joined by `&&`, each a condition as well; itself when there is one.
    """

    text: str
    metrics: tuple[str, ...]
    names: frozenset[str]
    clauses: tuple[str, ...]
    words: tuple[_tokens.Token, ...]
    program: Any

    def holds(self, values: Mapping[str, Any]) -> tuple[bool, str]:
        """Return whether it holds, and why it could not be told ("" when it could).

        A missing metric, a division by zero or a spent loop budget is never true.

        :param values: each variable it reads; `signal` maps the metrics the entity has.
        """
        try:
            value = self.program.eval(data=values)
        except RuntimeError as error:  # a spent loop budget is raised, other errors are returned
            return False, str(error)
        plain = value.value()
        if value.type() == cel.Type.BOOL and isinstance(plain, bool):
            return plain, ""
        return False, str(plain)


@functools.lru_cache(maxsize=4096)
def condition(text: str) -> Condition:
    """Check an expression.

    :raises ValueError: it cannot be a condition; the text says where and what to write instead.
    """
    if len(text) > _tokens.TEXT_MAX:
        _tokens.tokens(text)
    try:
        program = _environment().compile(text)
    except Exception as error:  # the library raises plain RuntimeErrors
        raise ValueError(_explained(text, str(error))) from None
    result = program.return_type()
    if result != cel.Type.BOOL:
        raise ValueError(
            f"a condition is true or false, this is {_spelled(result.name())}: "
            f"compare it with something, such as {text.strip()} < 60.0"
        )
    words = _tokens.tokens(text)
    _check_states(words)
    return Condition(
        text=text.strip(),
        metrics=_tokens.metrics(words),
        names=_tokens.names(words, VARIABLES),
        clauses=_tokens.clauses(text, words),
        words=tuple(words),
        program=program,
    )


@functools.lru_cache(maxsize=1)
def _environment() -> Any:
    kinds = dict.fromkeys(DOUBLES, cel.Type.DOUBLE)
    kinds |= dict.fromkeys(STRINGS, cel.Type.STRING)
    return cel.NewEnv(variables={**kinds, "signal": cel.Type.Map(cel.Type.STRING, cel.Type.DOUBLE)})


def _explained(text: str, error: str) -> str:
    """Turn the library's message into one line: where, what, and what to write."""
    match = _PLACE.search(error)
    if match is None or int(match[1]) < 1:
        if "recursion" in error:
            return "too deeply nested: write it with fewer parentheses, operators or policies"
        return error.splitlines()[0]
    line, column, message = int(match[1]), int(match[2]), match[3]
    where = f"column {column}" if "\n" not in text else f"line {line}, column {column}"
    hint = _hint(text, line, column, message)
    return f"{where}: {message.replace(chr(32) + '(in container ' + chr(39) * 2 + ')', '')}{hint}"


def _hint(text: str, line: int, column: int, message: str) -> str:
    unknown = _UNDECLARED.search(message)
    if unknown:
        if unknown[1] in [str(state) for state in STATES]:
            return f'; a state is text: write "{unknown[1]}"'
        close = difflib.get_close_matches(unknown[1], sorted(VARIABLES), n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        return f"; {meant}known are {', '.join(sorted(VARIABLES))}"
    overload = _OVERLOAD.search(message)
    if overload and "type(" in overload[2]:
        return "; the kind of an entity is called entity_type"
    if overload and "double" in overload[2] and "int" in overload[2]:
        number = re.compile(r"(?<![\w.])(\d+)(?![\w.])").search(
            text.split("\n")[line - 1], column - 1
        )
        shown = number[1] if number else "60"
        return f"; write {shown}.0: numbers here are doubles"
    if "Syntax error" in message and re.search(r"'(and|or|not)'", message):
        return "; write && for and, || for or, ! for not"
    if "Syntax error" in message and re.search(r"(?<![=!<>])=(?!=)", text):
        return "; equality is =="
    return ""


def _check_states(words: list[_tokens.Token]) -> None:
    """Refuse `state == "failed"`: it would type-check and never hold."""
    for before, sign, after in zip(words, words[1:], words[2:], strict=False):
        if sign.text not in ("==", "!=") or "state" not in (before.text, after.text):
            continue
        said = _tokens.plain_string(after if before.text == "state" else before)
        if said is not None and said not in list(STATES):
            raise ValueError(
                f"column {sign.start + 1}: state is never {said!r}; "
                f"it is one of {', '.join(STATES)}"
            )


def _spelled(kind: str) -> str:
    return {"DOUBLE": "a number", "INT": "a number", "STRING": "text"}.get(kind, kind.lower())
