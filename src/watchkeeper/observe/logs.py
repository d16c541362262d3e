"""Write log lines: one JSON object each, or text for people in front of a terminal.

What others sent us (names, addresses, answers) is data: it is cut to 1 KiB a field, and whatever
could move a cursor, break a line or turn the reading direction is shown as an escape.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import traceback
from collections import Counter
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog

from watchkeeper.observe.events import BY_NAME, FIELD_MAX
from watchkeeper.observe.settings import Log
from watchkeeper.observe.spans import here

FRAMES_MAX = 30  # of a traceback, the innermost
DEPTH_MAX = 3  # of a field that is a list or a mapping
ITEMS_MAX = 50  # of such a field
DIGEST = re.compile("[0-9a-f]{64}")
REPEAT = 60.0  # seconds
KEPT_MAX = 256  # words of libraries remembered
LINES: Counter[str] = Counter()  # written by this process, by level
_COLORS = {"debug": "2", "info": "0", "warning": "33", "error": "31"}
_NUMBERS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(settings: Log, out: TextIO | None = None) -> None:
    """Log as told from now on, to stderr unless said otherwise.

    Lines of libraries that use Python's own logging become lines like ours.
    """
    stream = out or sys.stderr
    as_text = settings.format == "text" or (settings.format == "auto" and stream.isatty())
    render = _Text(colors=stream.isatty()) if as_text else _json
    structlog.configure(
        processors=[structlog.processors.add_log_level, placed, _exception, bounded, render],
        wrapper_class=structlog.make_filtering_bound_logger(_NUMBERS[settings.level]),
        logger_factory=lambda *_: _Out(stream),
        cache_logger_on_first_use=False,
    )
    for handler in [one for one in logging.root.handlers if isinstance(one, _Relayed)]:
        logging.root.removeHandler(handler)
    logging.root.addHandler(_Relayed())
    logging.root.setLevel(max(logging.WARNING, _NUMBERS[settings.level]))


def placed(_logger: object, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Put time, level, event, stage and ids before what the line says."""
    name, level = line.pop("event"), line.pop("level")
    LINES[level] += 1
    event = BY_NAME.get(name)
    context, entry = here()
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    front = {"time": now, "level": level, "event": name}
    front["stage"] = event.stage if event is not None else "house"
    front |= {"trace_id": context.trace, "span_id": context.span}
    return front | ({"entry": entry} if entry is not None else {}) | dict(line)


def bounded(_logger: object, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Make every field safe to print and small."""
    return {name: _safe(value) for name, value in line.items()}


def shown(text: str) -> str:
    """Return text in at most FIELD_MAX bytes that does nothing to whatever prints it."""
    if len(text) > FIELD_MAX:
        text = text[:FIELD_MAX] + "…"
    if not text.isprintable():
        text = "".join(one if one.isprintable() else _escaped(one) for one in text)
    if len(text) * 4 <= FIELD_MAX or len(text.encode()) <= FIELD_MAX:
        return text
    return text.encode()[: FIELD_MAX - 3].decode(errors="ignore") + "…"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")


def _safe(value: Any, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping) and depth < DEPTH_MAX:
        kept = list(value.items())[:ITEMS_MAX]
        return {shown(str(name)): _safe(one, depth + 1) for name, one in kept}
    if isinstance(value, list | tuple) and depth < DEPTH_MAX:
        return [_safe(one, depth + 1) for one in value[:ITEMS_MAX]]
    return shown(value if isinstance(value, str) else str(value))


def _exception(_logger: object, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Tell an error by its frames, innermost last, without the values of variables."""
    given = line.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if not isinstance(error, BaseException):
        return line
    frames = [
        f"{frame.filename}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
    ]
    said = traceback.format_exception_only(error)[-1].strip()
    return dict(line) | {"exception": [*frames, said]}


def _json(_logger: object, _method: str, line: Mapping[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False, allow_nan=False)


class _Out:
    """What structlog calls a logger: writes finished lines, and never ends the house over one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        """Write one line whole."""
        with suppress(OSError, ValueError):  # whoever read our log has gone
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = msg


class _Text:
    """Lines for people: `13:12:24 warning source failed  source=rack-7 error="no route"`."""

    def __init__(self, *, colors: bool) -> None:
        self._colors = colors

    def __call__(self, _logger: object, _method: str, line: Mapping[str, Any]) -> str:
        """Return one line, and below it the frames of an error."""
        rest = dict(line)
        time, level, event = rest.pop("time"), rest.pop("level"), rest.pop("event")
        for name in ("stage", "trace_id", "span_id"):
            rest.pop(name, None)
        frames = rest.pop("exception", ())
        said = "  ".join(f"{name}={_plain(value)}" for name, value in rest.items())
        text = f"{time[11:19]} {level:<7} {event.replace('_', ' ')}"
        if self._colors:
            text = f"\033[{_COLORS.get(level, '0')}m{text}\033[0m"
        return "\n".join([f"{text}  {said}".rstrip(), *(f"    {frame}" for frame in frames)])


def _plain(value: Any) -> str:
    """Return a field as people read it: no more digits than say something."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        if DIGEST.fullmatch(value):
            return value[:12] + "…"
        return (
            value
            if value and not set(value) & set(' "=')
            else json.dumps(value, ensure_ascii=False)
        )
    return json.dumps(value, ensure_ascii=False)


class _Relayed(logging.Handler):
    """Takes what libraries log; the same words of one library once in REPEAT seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, str], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write it as a line of ours; what its level means is the library's to know."""
        key = (record.name, str(record.msg))
        if record.created - self._last.get(key, -math.inf) < REPEAT:
            return
        if len(self._last) >= KEPT_MAX:
            self._last.clear()
        self._last[key] = record.created
        said = {"logger": record.name, "detail": f"{record.levelname}: {record.getMessage()}"}
        structlog.get_logger("watchkeeper").warning(
            "library_said", **said, exc_info=record.exc_info
        )
