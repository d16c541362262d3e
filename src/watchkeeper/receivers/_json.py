"""What receivers of plain JSON share: reading bodies and times, answering as Prometheus does."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from watchkeeper.errors import Malformed, Overloaded, OverQuota, RequestError, TooLarge, Unsupported
from watchkeeper.receivers import Answer, Delivery, Limits, Received, refusal, told
from watchkeeper.receivers._unpack import unpack

WHOLE_MAX = 8 << 20  # bytes of JSON read as one value: it takes up to 20 times as much in memory
TOO_DEEP = "nested too deep"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?)?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII
)


def unpacked(delivery: Delivery, limits: Limits, *kinds: str) -> tuple[bytes, str]:
    """Return the body of a request and its content type, one of `kinds`; without one, the first.

    :raises RequestError: another content type; or as `unpack`.
    """
    given = delivery.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given and given not in kinds:
        raise Unsupported(
            f"Content-Type {given[:60]!r} is not understood", hint=f"send {' or '.join(kinds)}"
        )
    encoding = delivery.headers.get("content-encoding", "")
    return unpack(delivery.body, encoding, limits.body), given or kinds[0]


def whole(body: bytes) -> Any:
    """Return a body that is one JSON value.

    :raises Malformed: it is none.
    :raises TooLarge: it is longer than WHOLE_MAX.
    """
    if len(body) > WHOLE_MAX:
        raise TooLarge(f"more than {WHOLE_MAX} bytes of JSON in one value", hint="send less")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error}") from None


def text_of(value: Any) -> str:
    """Return a value as people read it: text as it is, nothing as nothing, the rest as JSON."""
    if isinstance(value, str):
        return value
    try:
        return "" if value is None else orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # nested deeper than it writes, though not than it reads
        return TOO_DEEP


def moment(text: str) -> int | None:
    """Return a time written as RFC 3339 or `YYYY-MM-DD[ HH:MM:SS[.fff]]` (UTC) in milliseconds.

    None when it cannot be read. What is finer than milliseconds is left out.
    """
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    date, clock, fraction, zone = found.groups()
    zone = "+00:00" if zone is None or zone in "Zz" else zone
    try:
        at = datetime.fromisoformat(f"{date}T{clock or '00:00:00'}{zone}")
    except ValueError:
        return None
    return (at - _EPOCH) // _MILLISECOND + int((fraction or "").ljust(3, "0")[:3])


def failed(outcome: Received | RequestError) -> Answer:
    """Return the answer to a request of which something, or all, was refused."""
    headers = {"Content-Type": "application/json"}
    if isinstance(outcome, Received):
        said: dict[str, Any] = {"status": "error", "errorType": "bad_data", "error": told(outcome)}
        said["data"] = {
            "accepted": outcome.accepted,
            "rejected": outcome.rejected,
            "reasons": dict(outcome.reasons),
            "first": outcome.first,
        }
        return Answer(400, headers, orjson.dumps(said))
    status, more = refusal(outcome)
    kind = "unavailable" if isinstance(outcome, OverQuota | Overloaded) else "bad_data"
    said = {"status": "error", "errorType": kind, "error": str(outcome)}
    return Answer(status, headers | more, orjson.dumps(said))
