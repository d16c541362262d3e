"""Traces: which piece of work led to which, through the threads, the journal and the outbox.

Every round, entry, step and order has a trace and a span id, whether or not anybody collects them,
so that log lines can be put together; making them costs a microsecond. Those of an entry follow
from the journal and the entry's offset alone. So work on an entry finds its trace again after a
restart, and nothing about traces is written into the journal or the ledger.

A request that came with a W3C `traceparent` goes on in its caller's trace, and so does what becomes
of it, as long as this process remembers (`Spans.carry`).
"""

from __future__ import annotations

import hashlib
import random
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar, Token
from typing import Any, NamedTuple

CARRIED = 65_536  # contexts remembered of each kind
LINKS_MAX = 32  # of one span
_PARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?",
    re.ASCII,
)


class Context(NamedTuple):
    """Where in which trace something happens. `sampled`: whether somebody collects it."""

    trace: str  # 32 hexadecimal digits
    span: str  # 16 of them
    sampled: bool = False

    @property
    def traceparent(self) -> str:
        """The header of W3C Trace Context that hands this on."""
        return f"00-{self.trace}-{self.span}-{int(self.sampled):02x}"


class Span(NamedTuple):
    """One finished piece of work. Times are nanoseconds since 1970."""

    name: str
    context: Context
    parent: Context | None
    begin: int
    end: int
    attributes: Mapping[str, Any]
    links: Sequence[Context]
    error: str


class _Here(NamedTuple):
    context: Context
    entry: int | None  # the journal's offset


# Ids of spans are no secret, and are drawn for every piece of work: without a system call each.
_ids = random.Random(secrets.randbits(128))  # noqa: S311
RUN = Context(secrets.token_hex(16), secrets.token_hex(8))  # of what belongs to no piece of work
_here: ContextVar[_Here | None] = ContextVar("here", default=None)


def here() -> tuple[Context, int | None]:
    """Return the context this thread works in, and the journal entry it works on, if any."""
    return _here.get() or _Here(RUN, None)


def parsed(traceparent: str | None) -> Context | None:
    """Return the context of a `traceparent` header; None when there is none, or it is malformed."""
    match = _PARENT.fullmatch(traceparent) if traceparent else None
    if match is None or ((traceparent or "").startswith("00") and match[4]):
        return None
    return Context(match[1], match[2], bool(int(match[3], 16) & 1))


class Working:
    """A piece of work that is going on; becomes a span when it ends. Use it with `with`."""

    __slots__ = (
        "_begin", "_links", "_name", "_parent", "_spans", "_token",
        "attributes", "context", "entry", "failure",
    )  # fmt: skip

    def __init__(
        self, spans: Spans, name: str, context: Context, parent: Context | None, *,
        links: Iterable[Context] = (), entry: int | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self._spans, self._name, self.context, self._parent = spans, name, context, parent
        self._links, self.entry = links, entry
        self.attributes = attributes if attributes is not None else {}
        self.failure = ""  # how it went wrong without raising
        self._begin = 0
        self._token: Token[_Here | None] | None = None

    def __enter__(self) -> Working:
        """Begin; until its end, this thread's log lines carry its ids."""
        self._token = _here.set(_Here(self.context, self.entry))
        self._begin = time.time_ns()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        """End, and say how."""
        assert self._token is not None
        _here.reset(self._token)
        if self._name:
            self._spans.finish(
                self._name, self.context, self._parent, self._begin, self.attributes,
                links=self._links, error=kind.__name__ if kind is not None else self.failure,
            )  # fmt: skip

    def forget(self) -> None:
        """Leave no span: there was nothing to do."""
        self._name = ""


class Spans:
    """Makes the spans of one house. Collects nothing unless it was given somewhere to send them.

    :param sink: takes each finished span; called from every thread, and must not wait.
    :param sample: share of the traces begun here that are collected.
    :param watch: told what each piece of work took, in seconds, collected or not.
    """

    def __init__(
        self,
        sink: Callable[[Span], None] | None = None,
        sample: float = 0.0,
        watch: Callable[[str, float, Context], None] = lambda _name, _seconds, _context: None,
    ) -> None:
        self._sink, self._below = sink, round(sample * 2**64) if sink else 0
        self._watch = watch
        self._house = secrets.token_hex(8)
        self._carried: dict[str, OrderedDict[Any, Context]] = {}

    @property
    def on(self) -> bool:
        """Whether anybody collects spans."""
        return self._sink is not None

    def belong(self, house: str) -> None:
        """Derive ids for this house from now on: the same text, the same ids."""
        self._house = house

    def root(self, kind: str, key: object) -> Context:
        """Return the context that follows from what a piece of work is about.

        The decision to collect it follows too, as OpenTelemetry's ratio sampler takes it.
        """
        made = hashlib.sha256(f"{self._house}/{kind}/{key}".encode()).hexdigest()
        return Context(made[:32], made[32:48], int(made[16:32], 16) < self._below)

    def child(self, parent: Context | None = None) -> Context:
        """Return a new context under a parent; under the one of this thread without any."""
        parent = parent or here()[0]
        return Context(parent.trace, f"{_ids.getrandbits(64):016x}", parent.sampled)

    def caller(self, headers: Mapping[str, str]) -> Context | None:
        """Return the context a request came with, if any."""
        return parsed(headers.get("traceparent"))

    def work(
        self, name: str, parent: Context | None = None, *, own: Context | None = None,
        links: Iterable[Context] = (), entry: int | None = None, **attributes: Any,
    ) -> Working:  # fmt: skip
        """Return a piece of work to be done in a `with` block.

        :param parent: what it hangs under; what this thread works on without any.
        :param own: its own context, when that follows from something; `parent` may then be None.
        """
        if own is None:
            parent = parent or here()[0]
            own = self.child(parent)
        return Working(
            self, name, own, parent, links=links,
            entry=entry if entry is not None else here()[1], attributes=attributes,
        )  # fmt: skip

    def finish(
        self, name: str, own: Context, parent: Context | None, begin: int,
        attributes: Mapping[str, Any], *, links: Iterable[Context] = (), error: str = "",
    ) -> None:  # fmt: skip
        """Hand on a piece of work that ends now."""
        end = time.time_ns()
        self._watch(name, (end - begin) / 1e9, own)
        if self._sink is None or not own.sampled:
            return
        others = [link for link in links if link.span != own.span][:LINKS_MAX]
        self._sink(Span(name, own, parent, begin, end, attributes, others, error))

    def carry(self, kind: str, keys: Iterable[object], context: Context) -> None:
        """Remember the context of entries, steps or orders until others need the room."""
        known = self._carried.setdefault(kind, OrderedDict())
        for key in keys:
            known[key] = context
        while len(known) > CARRIED:
            known.popitem(last=False)

    def carried(self, kind: str, key: object) -> Context:
        """Return the remembered context, or the one that follows from kind and key."""
        known = self._carried.get(kind)
        return (known.get(key) if known is not None else None) or self.root(kind, key)


OFF = Spans()
