"""Cut a CEL expression into tokens, so that its cost has a bound before anything runs.

CEL's own library parses and checks the expression; these tokens serve what it cannot tell us: how
large and how deep the text is, which signals it reads, and where its clauses begin and end.
Grammar: the Common Expression Language specification, section "Syntax".
"""

from __future__ import annotations

import re
from typing import NamedTuple

TEXT_MAX = 2_000  # characters
TOKENS_MAX = 500
NESTING_MAX = 40
LOOPS_MAX = 2  # comprehensions inside one another

_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n\f]+|//[^\n]*)"
    r'|(?P<string>[rRbB]{0,2}(?:"""[\s\S]*?"""|' + r"'''[\s\S]*?'''"
    r'|"(?:\\.|[^"\\\r\n])*"|' + r"'(?:\\.|[^'\\\r\n])*'))"
    r"|(?P<double>[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)"
    r"|(?P<int>0x[0-9a-fA-F]+[uU]?|[0-9]+[uU]?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}])"
)
_PLAIN = re.compile(r"""(?:"[^"\\]*"|'[^'\\]*')""")
_LOOPS = frozenset({"all", "exists", "exists_one", "map", "filter"})
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class Token(NamedTuple):
    """One word: its kind (string, double, int, name, sign), its text, and where it starts."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """Where the next character is."""
        return self.start + len(self.text)


def tokens(text: str) -> list[Token]:
    """Return the words of an expression, without spaces and comments.

    :raises ValueError: it is too long, too deep, loops too deeply, or holds an unknown character.
    """
    if len(text) > TEXT_MAX:
        raise ValueError(f"a condition has at most {TEXT_MAX:,} characters, this has {len(text):,}")
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"column {at + 1}: {text[at]!r} cannot be read here")
        if match.lastgroup != "space":
            found.append(Token(str(match.lastgroup), match.group(), at))
        at = match.end()
    if len(found) > TOKENS_MAX:
        raise ValueError(f"a condition has at most {TOKENS_MAX} words, this has {len(found)}")
    _measure(found)
    return found


def _measure(words: list[Token]) -> None:
    open_loops: list[bool] = []
    for index, word in enumerate(words):
        if word.text in _CLOSING and word.kind == "sign":
            loop = (
                index >= 2
                and word.text == "("
                and words[index - 1].text in _LOOPS
                and words[index - 2].text == "."
            )
            open_loops.append(loop)
            if len(open_loops) > NESTING_MAX:
                raise ValueError(f"column {word.start + 1}: nested deeper than {NESTING_MAX}")
            if sum(open_loops) > LOOPS_MAX:
                raise ValueError(f"column {word.start + 1}: loops nested deeper than {LOOPS_MAX}")
        elif word.text in _CLOSING.values() and word.kind == "sign" and open_loops:
            open_loops.pop()


def plain_string(word: Token) -> str | None:
    """Return what a string literal says; None when it has a prefix or an escape."""
    if word.kind != "string" or not _PLAIN.fullmatch(word.text):
        return None
    return word.text[1:-1]


def metrics(words: list[Token]) -> tuple[str, ...]:
    """Return the metrics whose scores an expression reads, sorted.

    :raises ValueError: `signal` is used in a way that does not name its metric.
    """
    found = set()
    for index, word in enumerate(words):
        if word.kind != "name" or word.text != "signal" or _is_member(words, index):
            continue
        after = [w.text for w in words[index + 1 : index + 4]]
        if after[:1] == ["["] and after[2:3] == ["]"]:
            name = plain_string(words[index + 2])
        elif after[:1] == ["."] and after[2:3] != ["("]:
            name = words[index + 2].text
        elif index >= 2 and words[index - 1].text == "in":
            name = plain_string(words[index - 2])
        else:
            name = None
        if name is None:
            raise ValueError(
                f"column {word.start + 1}: signal must name its metric: "
                'signal["system.cpu.utilization"]'
            )
        found.add(name)
    return tuple(sorted(found))


def names(words: list[Token], known: frozenset[str]) -> frozenset[str]:
    """Return which of the known variables an expression reads."""
    return frozenset(
        word.text
        for index, word in enumerate(words)
        if word.kind == "name" and word.text in known and not _is_member(words, index)
    )


def clauses(text: str, words: list[Token]) -> tuple[str, ...]:
    """Return the parts joined by `&&` at the outermost level, as written; often just one."""
    depth, begin, parts = 0, 0, []
    for word in words:
        if word.kind != "sign":
            continue
        if word.text in _CLOSING:
            depth += 1
        elif word.text in _CLOSING.values():
            depth -= 1
        elif depth == 0 and word.text in ("||", "?"):
            return (text.strip(),)  # `&&` binds tighter: the whole is one clause
        elif depth == 0 and word.text == "&&":
            parts.append(text[begin : word.start].strip())
            begin = word.end
    return (*parts, text[begin:].strip())


def _is_member(words: list[Token], index: int) -> bool:
    if index < 2 or words[index - 1].text != ".":
        return False  # `.health` is the variable too, by its absolute name
    owner = words[index - 2]
    return owner.kind in ("name", "string") or owner.text in _CLOSING.values()
