"""What every fault has in common: when, for how long, to whom, and what the truth about it is."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)

from watchkeeper.simulate._effects import Effect

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SPAN = re.compile(r"(\d+)(ms|s|m|h|d|w)")


def milliseconds(text: Any) -> int:
    """Return a duration such as `90s`, `1h30m` or `1d` in milliseconds.

    :raises ValueError: it is none; a bare number is none either, because its unit is a guess.
    """
    parts = _SPAN.findall(text) if isinstance(text, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration; write 30s, 5m, 1h30m or 1d")
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


def duration(count: int) -> str:
    """Return milliseconds as the text of a duration, in the largest unit that is exact."""
    unit = max((unit for unit in _UNITS if count % _UNITS[unit] == 0), key=_UNITS.__getitem__)
    return f"{count // _UNITS[unit]}{unit}"


_AS_TEXT = PlainSerializer(duration, return_type=str, when_used="json")
Span = Annotated[int, BeforeValidator(milliseconds), Field(ge=0), _AS_TEXT]  # milliseconds
Length = Annotated[int, BeforeValidator(milliseconds), Field(gt=0), _AS_TEXT]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Reading(NamedTuple):
    """What happens between a host and the reader. `how` is a name known to `_readings.py`.

    :param signal: the signal's id; empty for all signals of the host.
    """

    signal: str
    how: str
    p: float = 0.0
    q: float = 0.0


class Fault(BaseModel):
    """When, for how long, and to whom. Name entities, or say how many hosts or racks to draw.

    :param onset: since the scenario's start. :param duration: until it is repaired or over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    action: ClassVar[str]  # what a good operator does
    benign: ClassVar[bool] = False
    among: ClassVar[Literal["hosts", "racks", "all"]] = "hosts"  # whom, when nothing is said

    kind: str
    onset: Span = 0
    duration: Length = 3_600_000
    entities: tuple[str, ...] = ()
    count: Annotated[int, Field(ge=1)] | None = None
    racks: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _one_choice(self) -> Fault:
        chosen = [bool(self.entities), self.count is not None, self.racks is not None]
        if sum(chosen) > 1:
            raise ValueError("give only one of entities, count, racks")
        return self

    @property
    def seconds(self) -> float:
        """The duration in seconds."""
        return self.duration / 1000.0

    @property
    def stagger(self) -> float:
        """Seconds from one affected entity to the next; 0 when all begin at once."""
        return 0.0

    def effects(self) -> tuple[Effect, ...]:
        """Return what it does to the signals of one host."""
        return ()

    def readings(self) -> tuple[Reading, ...]:
        """Return what it does to what is read from one host."""
        return ()

    def fails_after(self) -> float | None:
        """Return the seconds from onset until the host no longer does its work, or None."""
        return None
