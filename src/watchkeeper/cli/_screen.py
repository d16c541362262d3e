"""Tables that fit, and a terminal taken over for a while."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

NAME_MAX = 34  # columns of an entity's name


def table(entities: Sequence[dict[str, Any]], width: int) -> list[str]:
    """Return a head and one line an entity: state, health, coverage, score, and why."""
    longest = max((len(one["entity"]) for one in entities), default=6)
    name = min(longest, NAME_MAX, max(10, width - 46))
    lines = [f"{'entity':<{name}} {'state':<7} {'health':>6} {'cover':>5} {'score':>6}  why"]
    for one in entities:
        health = "—" if one["health"] is None else f"{one['health']:.1f}"
        score = one["score"]
        shown = "—" if score is None or score != score else f"{min(score, 999.9):.1f}"
        why = ", ".join(f"{c['metric']} {c['share']:.0%}" for c in one["contributions"][:3])
        lines.append(
            f"{cut(one['entity'], name):<{name}} {one['state']:<7} {health:>6}"
            f" {one['coverage']:>5.0%} {shown:>6}  {why}"
        )
    return lines


def cut(text: str, width: int) -> str:
    """Return text in at most so many columns; what does not print is shown as a dot."""
    text = "".join(letter if letter.isprintable() else "·" for letter in text)
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def draw(lines: Sequence[str]) -> None:
    """Draw a whole screen at once, so that nothing flickers."""
    body = "".join(f"{line}\x1b[K\r\n" for line in lines[:-1]) + f"{lines[-1]}\x1b[K\x1b[J"
    sys.stdout.write("\x1b[H" + body)
    sys.stdout.flush()


@contextmanager
def taken() -> Iterator[Callable[[float], str]]:
    """Take the terminal over, and give it back as it was.

    Yields a function that waits so many seconds for a key; nothing typed is an empty text.
    """
    import select
    import termios
    import tty

    keyboard = sys.stdin.fileno()
    saved = termios.tcgetattr(keyboard)

    def key(seconds: float) -> str:
        ready, _, _ = select.select([keyboard], [], [], seconds)
        return os.read(keyboard, 1).decode("latin-1") if ready else ""  # a buffer would hide keys

    try:
        tty.setcbreak(keyboard)
        sys.stdout.write("\x1b[?1049h\x1b[?25l\x1b[2J")
        yield key
    finally:
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
        termios.tcsetattr(keyboard, termios.TCSADRAIN, saved)
