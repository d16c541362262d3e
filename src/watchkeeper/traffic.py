"""What went through since the start, and how much more each tenant may send."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import pyarrow as pa

from watchkeeper.key_table import KeyTable
from watchkeeper.model import Checked
from watchkeeper.receivers import Limits

WORTH = 16_384  # samples that are worth a round of their own
GATHER = 0.005  # seconds after a smaller round in which those it answered may come again


@dataclass
class Traffic:
    """What went through since the start: offered = accepted + rejected + shed, in samples."""

    offered: int = 0
    accepted: int = 0
    rejected: int = 0
    shed: int = 0  # decoded, and not taken in: the sender was asked to send it again
    batches: int = 0
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)  # receiver, outcome
    reasons: Counter[str] = field(default_factory=Counter)  # of rejected samples
    pushed: Counter[tuple[str, str]] = field(default_factory=Counter)  # samples: receiver, outcome
    bytes: int = 0  # of requests, as sent

    def stored(self, receiver: str | None, checked: Checked) -> Mapping[str, int]:
        """Count a batch that the journal holds; return how much was rejected for which reason.

        :param receiver: None: a source brought it.
        """
        reasons = _reasons(checked)
        accepted, rejected = checked.samples.num_rows, checked.rejected.num_rows
        self.batches += 1
        self.offered += checked.offered
        self.accepted += accepted
        self.rejected += rejected
        self.reasons.update(reasons)
        if receiver is not None:
            self.pushed[receiver, "offered"] += checked.offered
            self.pushed[receiver, "accepted"] += accepted
            self.pushed[receiver, "rejected"] += rejected
        return reasons

    def asked_again(self, receiver: str, offered: int) -> None:
        """Count samples that were decoded and not taken in."""
        self.offered += offered
        self.shed += offered
        self.pushed[receiver, "offered"] += offered
        self.pushed[receiver, "shed"] += offered

    def check(self) -> None:
        """Hold the accounting."""
        assert self.offered == self.accepted + self.rejected + self.shed, self


def _reasons(checked: Checked) -> Mapping[str, int]:
    if not checked.rejected.num_rows:
        return {}
    counts = checked.rejected["reason"].value_counts()
    return {one["values"].as_py(): one["counts"].as_py() for one in counts}


class Met:
    """How many series each decoder's table has told of."""

    def __init__(self) -> None:
        self._tables: WeakKeyDictionary[KeyTable, int] = WeakKeyDictionary()

    def new(self, keys: pa.RecordBatch | KeyTable) -> int:
        """Return how many were met since a table was last seen; what is no table has none."""
        if not isinstance(keys, KeyTable):
            return 0
        met, self._tables[keys] = self._tables.get(keys, 0), len(keys)
        return len(keys) - met


class Quota:
    """What one tenant still may: new series within a minute, in all, of one metric; samples.

    Only series that were added are counted, so however many metrics a tenant invents, there are
    no more counts than series it may have.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._series, self._new = 0, float(limits.tenant_new_series)
        self._of_metric: dict[str, int] = {}
        self._samples = float(limits.tenant_samples)
        self._seen = time.monotonic()

    @property
    def most_of_metric(self) -> int:
        """How many series of one metric there may be."""
        return self.limits.tenant_metric_series

    def of_metric(self, metric: str) -> int:
        """Return how many series of a metric were added."""
        return self._of_metric.get(metric, 0)

    def add(self, metric: str) -> None:
        """Count a new series of a metric."""
        self._new -= 1
        self._series += 1
        self._of_metric[metric] = self._of_metric.get(metric, 0) + 1

    def room(self) -> int:
        """Return how many new series may be added now."""
        self._refill()
        return max(0, int(min(self._new, self.limits.tenant_series - self._series)))

    def late(self) -> float:
        """Return for how many seconds the tenant has sent too much; 0 when it has not."""
        self._refill()
        rate = self.limits.tenant_samples
        return max(0.0, -self._samples / rate) if rate else 0.0

    def spend(self, samples: int) -> None:
        """Count samples that came in; one request may overdraw, the next has to wait."""
        self._samples -= samples

    def _refill(self) -> None:
        now = time.monotonic()
        spent, self._seen = now - self._seen, now
        limits = self.limits
        self._new = min(limits.tenant_new_series, self._new + limits.tenant_new_series * spent / 60)
        most = float(limits.tenant_samples)
        self._samples = min(most, self._samples + most * spent)


class Gathering:
    """Lets those come again whom a small round has just answered, before the next one begins.

    A few senders that each wait for their answer would otherwise take turns, and each pay for a
    round alone. A lone sender, or who comes after a pause, waits for nobody.

    :param changed: notified when something came; its lock guards `waiting`.
    """

    def __init__(self, changed: threading.Condition, waiting: Sized) -> None:
        self._changed, self._waiting = changed, waiting
        self._expected = 0  # of those who wait for the next round
        self._until = 0.0

    def ended(self, offered: Sequence[int]) -> None:
        """A round has answered requests of so many samples each."""
        small = sum(offered) < WORTH
        self._expected = len(offered) + len(self._waiting) if small else 0
        self._until = time.monotonic() + GATHER

    def came(self) -> None:
        """Wake whoever waits, unless more are expected; called with the lock held."""
        if len(self._waiting) >= self._expected:
            self._changed.notify()

    def wait(self, timeout: float) -> bool:
        """Wait for whom the last round answered, a few milliseconds at most; then for anybody.

        :param timeout: seconds after which nobody is waited for. :return: whether anybody waits.
        """
        with self._changed:
            while len(self._waiting) < self._expected:
                left = self._until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            self._expected = 0
            return bool(self._waiting) or (self._changed.wait(timeout) and bool(self._waiting))
