"""Numbers, times and sentences as people read them. Same value, same words, in any locale."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from watchkeeper.model import State
from watchkeeper.reports._findings import Entity, Findings, Incident, Signal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def rfc3339(millis: int) -> str:
    """Return a time as programs read it, with milliseconds."""
    moment = EPOCH + timedelta(milliseconds=millis)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def when(millis: int) -> str:
    """Return a time as people read it: UTC, with seconds only when there are some."""
    moment = EPOCH + timedelta(milliseconds=millis)
    return moment.strftime("%Y-%m-%d %H:%M:%S" if moment.second else "%Y-%m-%d %H:%M")


def span(millis: int) -> str:
    """Return a duration in its two largest units: `2 d 3 h`, `5 min`, `12 s`."""
    seconds = max(0, millis) // 1000
    parts: list[tuple[int, str]] = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if seconds >= size or parts:
            parts.append((seconds // size, unit))
            seconds %= size
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count) or "0 s"


def number(value: float | None) -> str:
    """Return four significant digits, with k, M, G … from ten thousand; `–` for None."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if size < 1e-12:
        return "0"
    if size < 1e-3:
        return f"{value:.2e}"
    if size < 9_999.5:
        return f"{value:.4g}"
    power = 0
    while abs(value) >= 999.95 and power < len(PREFIXES) - 1:
        value /= 1000
        power += 1
    return f"{value:.4g} {PREFIXES[power]}"


def health(value: float | None) -> str:
    """Return health as a whole number; never 100 when something is missing; `?` unknown."""
    if value is None:
        return "?"
    return str(min(round(value), 99) if value < 100 else 100)


def percent(share: float) -> str:
    """Return a share of 0..1."""
    return f"{share:.0%}" if share >= 0.01 or share == 0 else "<1%"


def count(amount: int, one: str, many: str) -> str:
    """Return `1 entity`, `2,500 entities`."""
    return f"{amount:,} {one if amount == 1 else many}"


def series(metric: str, attributes: str) -> str:
    """Return `metric {name=value}`, without braces when there are no attributes."""
    try:
        pairs = json.loads(attributes)
        text = ", ".join(f"{name}={value}" for name, value in pairs.items())
    except (ValueError, AttributeError):
        text = attributes
    return f"{metric} {{{text}}}" if text else metric


def shown(text: str) -> str:
    """Return a name with what nobody can see, or what reorders text around it, as `�`."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in text)


def verdict(findings: Findings) -> str:
    """Return the one sentence to read when there is time for only one."""
    total = len(findings.entities)
    if not total:
        return "Nothing was looked at"
    sick, unknown = unhealthy(findings), findings.count(State.UNKNOWN)
    if sick:
        noun = "entity is" if total == 1 else ("entities is" if sick == 1 else "entities are")
        return f"{sick:,} of {total:,} {noun} unhealthy"
    if unknown == total:
        return "Nothing is known"
    if unknown:
        return f"Nothing is unhealthy, {unknown:,} of {total:,} unknown"
    return "Nothing is unhealthy"


def unhealthy(findings: Findings) -> int:
    """Return how many entities are in warn or fail now."""
    return findings.count(State.WARN) + findings.count(State.FAIL)


def said(signal: Signal) -> str:
    """Return what a signal said: `0.97, expected 0.48, normal 0.41 to 0.55`; empty if unknown."""
    if signal.value is None:
        return ""
    text = number(signal.value)
    if signal.expected is not None:
        text += f", expected {number(signal.expected)}"
    if signal.lower is not None and signal.upper is not None:
        text += f", normal {number(signal.lower)} to {number(signal.upper)}"
    elif signal.upper is not None:
        text += f", normal up to {number(signal.upper)}"
    elif signal.lower is not None:
        text += f", normal from {number(signal.lower)}"
    return text


def brief(signal: Signal) -> str:
    """Return value and normal range only, where there is a range; else all there is."""
    return said(signal if signal.lower is signal.upper is None else replace(signal, expected=None))


def why(entity: Entity) -> list[tuple[str, str]]:
    """Return what matters first, as (series or fact, what about it); at most two."""
    if entity.state is State.UNKNOWN:
        here = percent(entity.coverage)
        return [("signals are missing", f"{here} of those expected are here")]
    signals = entity.signals
    if entity.state is State.OK and entity.incidents:
        signals = worst_incident(entity).signals
    told = []
    for signal in signals[:2]:
        parts = [brief(signal), f"{percent(signal.share)} of the loss"]
        told.append((series(signal.metric, signal.attributes), "; ".join(p for p in parts if p)))
    if not told and entity.lead:
        told.append((entity.lead, ""))
    return told


def worst_incident(entity: Entity) -> Incident:
    """Return the incident with the lowest health; without any known health, the first."""
    return min(entity.incidents, key=lambda i: 101.0 if i.worst is None else i.worst)


def time_of(entity: Entity) -> str:
    """Return since when it is not ok, or when it was not."""
    if entity.since is not None:
        return f"since {when(entity.since)}, {span(entity.at - entity.since)}"
    if not entity.incidents:
        return ""
    worst = worst_incident(entity)
    lasted = f" for {span(worst.end - worst.start)}" if worst.end is not None else ""
    more = entity.incident_count - 1
    others = f", and {more:,} more" if more else ""
    return f"{when(worst.start)}{lasted}{others}"
