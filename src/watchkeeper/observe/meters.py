"""What is counted while work is done; everything else is made when somebody asks.

A histogram's bucket remembers the trace of its latest observation that is collected, so that a slow
one on a dashboard leads to its trace (an exemplar, in OpenMetrics).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from prometheus_client import Histogram, disable_created_metrics
from prometheus_client.metrics_core import Metric

from watchkeeper.observe.metrics import BY_NAME, PREFIX, family
from watchkeeper.observe.spans import Context

_HISTOGRAMS = [
    name.removeprefix(PREFIX) for name, one in BY_NAME.items() if one.kind == "histogram"
]
# When a series began would be one more series for each, that nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]
_COUNTERS = (
    "source_failures_total", "decisions_total", "guard_blocks_total", "orders_total",
)  # fmt: skip


class Meters:
    """The counters and histograms of one house."""

    def __init__(self) -> None:
        self._histograms = {name: _histogram(name) for name in _HISTOGRAMS}
        self._parts: dict[tuple[str, ...], Histogram] = {}
        self.counters: Mapping[str, Counter[tuple[str, ...]]] = {
            name: Counter() for name in _COUNTERS
        }

    def observe(self, name: str, seconds: float, *labels: str, of: Context | None = None) -> None:
        """Add one observation; `of` is what it belongs to."""
        key = (name, *labels)
        part = self._parts.get(key)
        if part is None:
            whole = self._histograms[name]
            part = self._parts[key] = whole.labels(*labels) if labels else whole
        exemplar = {"trace_id": of.trace, "span_id": of.span} if of and of.sampled else None
        part.observe(max(0.0, seconds), exemplar)

    def count(self, name: str, *labels: str) -> None:
        """Count one more."""
        self.counters[name][labels] += 1

    def families(self) -> Iterable[Metric]:
        """Yield all of it as Prometheus' client tells it."""
        for histogram in self._histograms.values():
            yield from histogram.collect()
        for name, counts in self.counters.items():
            made = family(name)
            for labels, count in sorted(counts.copy().items()):
                made.add_metric(labels, count)
            yield made


def _histogram(name: str) -> Histogram:
    metric = BY_NAME[PREFIX + name]
    return Histogram(
        PREFIX + name, metric.says, metric.labels, buckets=metric.buckets, registry=None
    )
