"""Sessions of the page, and how often somebody may be wrong. Both live in memory.

A restart signs everybody out. A session names a person and grants nothing itself: what the person
may is looked up each time, so a changed role holds at once, and a changed password ends it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, replace

from watchkeeper.model import Millis

SESSIONS_MAX = 10_000
PER_PERSON = 20
FAILURES, WINDOW = 10, Millis(60_000)  # so many within so long, of one account or one address
REMEMBERED = 50_000  # accounts and addresses with failures


@dataclass(frozen=True, slots=True)
class Session:
    """One browser that signed in. :param csrf: what its unsafe requests must bring along."""

    person: str
    csrf: str
    begun: Millis
    seen: Millis


class Sessions:
    """Everybody who is signed in.

    :param longest: ms after which one must sign in again. :param idle: the same without a request.
    """

    def __init__(self, longest: Millis, idle: Millis) -> None:
        self._longest, self._idle = longest, idle
        self._open: OrderedDict[bytes, Session] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, person: str, now: Millis, before: str = "") -> tuple[str, Session]:
        """Return a new cookie and its session; whatever cookie was brought along ends.

        A cookie that a stranger planted before the sign-in is worth nothing after it.
        """
        cookie = secrets.token_urlsafe(32)
        session = Session(person, secrets.token_urlsafe(32), now, now)
        with self._lock:
            self._open.pop(_key(before), None)
            mine = [key for key, one in self._open.items() if one.person == person]
            for key in mine[: max(0, len(mine) - PER_PERSON + 1)]:
                del self._open[key]
            while len(self._open) >= SESSIONS_MAX:
                self._open.popitem(last=False)
            self._open[_key(cookie)] = session
        return cookie, session

    def find(self, cookie: str, now: Millis) -> Session | None:
        """Return the session of a cookie, and count it as seen; None when it is over."""
        key = _key(cookie)
        with self._lock:
            session = self._open.get(key)
            if session is None:
                return None
            if now - session.begun >= self._longest or now - session.seen >= self._idle:
                del self._open[key]
                return None
            self._open[key] = replace(session, seen=now)
            return session

    def end(self, cookie: str) -> None:
        """Sign this browser out."""
        with self._lock:
            self._open.pop(_key(cookie), None)


class Backoff:
    """How often an account or an address was wrong lately."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, deque[Millis]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, keys: tuple[str, ...], now: Millis) -> float:
        """Return for how many seconds nothing is tried for any of these; 0 when it is."""
        with self._lock:
            return max(self._left(key, now) for key in keys)

    def fail(self, keys: tuple[str, ...], now: Millis) -> None:
        """Count a failure for each."""
        with self._lock:
            for key in keys:
                times = self._failures.pop(key, None) or deque(maxlen=FAILURES)
                times.append(now)
                self._failures[key] = times
            while len(self._failures) > REMEMBERED:
                self._failures.popitem(last=False)

    def _left(self, key: str, now: Millis) -> float:
        times = self._failures.get(key)
        if times is None or len(times) < FAILURES:
            return 0.0
        return max(0.0, (times[0] + WINDOW - now) / 1000)


def network(address: str) -> str:
    """Return what counts as one address: one of IPv4, or a subscriber's /64 of IPv6."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if ip.version == 6:
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def _key(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
