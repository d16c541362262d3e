"""Send finished spans by OTLP over HTTP, from a thread of their own, through a bounded queue.

OpenTelemetry's SDK encodes and sends them. Its own batching processor counts nothing of what it
drops, so the queue is ours.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from watchkeeper import __version__
from watchkeeper.observe.settings import Tracing
from watchkeeper.observe.spans import Context, Span
from watchkeeper.secret import hidden

EVERY = 1.0  # seconds between two exports, unless much waits
BATCH = 512  # spans in one export
KINDS = {"receive": SpanKind.SERVER, "act": SpanKind.CLIENT}
SCOPE = InstrumentationScope("watchkeeper", __version__)
# The SDK logs what a receiver answers, which may repeat what we showed it. We tell failures.
logging.getLogger(OTLPSpanExporter.__module__).disabled = True

Failed = Callable[[str, int], None]


class Exporter:
    """Takes spans from any thread at once, and sends them when it can.

    :param failed: told why how many spans could not be sent.
    """

    def __init__(self, settings: Tracing, failed: Failed = lambda _why, _count: None) -> None:
        self.counts: Counter[str] = Counter(exported=0, dropped=0, failed=0)
        self._failed, self._waiting = failed, deque[Span]()
        self._room = settings.queue
        self._resource = Resource({
            "service.name": "watchkeeper",
            "service.version": __version__,
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        })  # fmt: skip
        self._settings = settings
        self._shown = self._headers()  # what the receiver is shown of us now
        self._out = self._opened()
        self._much, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def __call__(self, span: Span) -> None:
        """Let a span wait to be sent; drop it when too many wait."""
        if len(self._waiting) >= self._room:
            self.counts["dropped"] += 1
            return
        self._waiting.append(span)
        if len(self._waiting) >= BATCH:
            self._much.set()

    def _headers(self) -> dict[str, str]:
        return {name: value.reveal() for name, value in self._settings.headers.items()}

    def _opened(self) -> OTLPSpanExporter:
        at = self._settings
        return OTLPSpanExporter(at.endpoint, headers=self._shown, timeout=at.timeout)

    def close(self, seconds: float) -> None:
        """Send what waits, for at most so long; what is left is lost and counted."""
        self._over.set()
        self._much.set()
        self._thread.join(seconds)
        self._out.shutdown()  # type: ignore[no-untyped-call]
        self.counts["dropped"] += len(self._waiting)

    def _run(self) -> None:
        while not self._over.is_set():
            self._much.wait(EVERY)
            self._much.clear()
            self._send()
        self._send()

    def _send(self) -> None:
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            why = self._sent(some)
            self.counts["failed" if why else "exported"] += len(some)
            if why:
                self._failed(why, len(some))

    def _sent(self, some: Sequence[Span]) -> str:
        """Send spans; return why not, or nothing."""
        try:
            now = self._headers()
            if now != self._shown:  # a secret was renewed where it is kept
                self._out.shutdown()  # type: ignore[no-untyped-call]
                self._shown = now
                self._out = self._opened()
            result = self._out.export([_readable(one, self._resource) for one in some])
        except Exception as error:  # tracing ends nothing
            return hidden(f"{type(error).__name__}: {error}", self._shown.values())
        return "" if result is SpanExportResult.SUCCESS else "the collector did not take them"


def _readable(span: Span, resource: Resource) -> ReadableSpan:
    status = Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET)
    return ReadableSpan(
        span.name,
        context=_context(span.context),
        parent=_context(span.parent) if span.parent is not None else None,
        resource=resource,
        attributes=_named(span.attributes),
        links=[Link(_context(link)) for link in span.links],
        kind=KINDS.get(span.name, SpanKind.INTERNAL),
        status=status,
        start_time=span.begin,
        end_time=max(span.begin, span.end),
        instrumentation_scope=SCOPE,
    )


def _context(one: Context) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if one.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(one.trace, 16), int(one.span, 16), is_remote=False, trace_flags=flags)


def _named(attributes: Mapping[str, object]) -> dict[str, str | bool | int | float]:
    """Return attributes under our own name, as values that OTLP has."""
    return {
        f"watchkeeper.{name}": value if isinstance(value, str | bool | int | float) else str(value)
        for name, value in attributes.items()
    }
