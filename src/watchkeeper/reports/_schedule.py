"""Which reports are made again and again, and when. Pure: the time is that of the journal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from watchkeeper.errors import ConfigError
from watchkeeper.model import Millis
from watchkeeper.reports._scope import Scope

MINUTE, DAY = 60_000, 86_400_000
WEEK, YEAR = 7 * DAY, 366 * DAY
MONDAY = 4 * DAY  # the first one after 1970-01-01, a Thursday
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
KEEP_MAX = 1_000
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_AT = re.compile(rf"(?:({'|'.join(DAYS)}) )?([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Schedule:
    """A report that is made again and again, by the time of the journal, which is UTC.

    :param name: of the report and of its folder: small letters, digits, `-` and `_`.
    :param every: milliseconds from one report to the next, 1m to 366d.
    :param at: when on its day, such as `06:00`, or `monday 06:00` for whole weeks; for `every` of
        whole days.
    :param window: milliseconds that each looks back; 0: as long as `every`.
    :param entity: only this one, such as `host:web-1`.
    :param group: only entities of this type, such as `host`, or with this label, such as `rack=r7`.
    :param formats: each of them becomes one file: html, json, parquet, text.
    :param keep: how many of this name stay; when there is one more, the oldest is deleted.
    """

    name: str
    every: int = DAY
    at: str = ""
    window: int = 0
    entity: str = ""
    group: str = ""
    formats: tuple[Literal["html", "json", "parquet", "text"], ...] = ("html", "json")
    keep: int = 30

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"name {self.name!r} is no name of a folder",
                hint="up to 40 small letters, digits, - and _",
            )
        if not MINUTE <= self.every <= YEAR:
            raise ValueError("every must be between 1m and 366d")
        if self.window and not MINUTE <= self.window <= YEAR:
            raise ValueError("window must be between 1m and 366d, or 0")
        if self.entity and self.group:
            raise ConfigError("entity and group are both given", hint="keep one of the two")
        if not self.formats or len(set(self.formats)) < len(self.formats):
            raise ValueError("formats must name at least one format, and each once")
        if not 1 <= self.keep <= KEEP_MAX:
            raise ValueError(f"keep must be between 1 and {KEEP_MAX}")
        self._first()

    @property
    def length(self) -> int:
        """How far each report looks back, ms."""
        return self.window or self.every

    def scope(self, until: Millis) -> Scope:
        """Return what the report that is due at a time looks at."""
        return Scope(self.entity, self.group, Millis(max(0, until - self.length)), until)

    def due(self, tick: Millis, made: Millis | None) -> list[Millis]:
        """Return the times at which reports were due up to a tick, oldest first.

        :param made: of the newest one there is. Those after it were missed, of which the newest
            that would be kept are made up for; without one, there is only the last.
        """
        last = (tick - self._first()) // self.every * self.every + self._first()
        before = last - self.every * (1 if made is None else self.keep)
        before = before if made is None else max(before, made)
        missed = range(last, before, -self.every)
        return [Millis(time) for time in reversed(missed) if time > 0]

    def _first(self) -> int:
        """Return the first time at which it was due after 1970 began."""
        weekly = self.every % WEEK == 0
        found = _AT.fullmatch(self.at or "00:00")
        if found is None:
            raise ConfigError(
                f"at {self.at!r} is no time of a day", hint="such as 06:00 or monday 06:00, in UTC"
            )
        day, hour, minute = found.groups()
        if self.at and self.every % DAY:
            raise ConfigError("at is for whole days", hint="leave it out, or let every be 1d")
        if day and not weekly:
            raise ConfigError("a day of the week is for whole weeks", hint="let every be 1w")
        start = (MONDAY + (DAYS.index(day) if day else 0) * DAY) if weekly else 0
        return start + (int(hour) * 60 + int(minute)) * MINUTE
