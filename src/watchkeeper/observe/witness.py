"""Sees what the house does, and counts, logs and traces it. Decides nothing.

The loops tell it what has happened; nothing of what they do depends on it.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import structlog

from watchkeeper.model import Entry, Millis, Offset, Order, Outcome, Receipt, Step
from watchkeeper.observe.meters import Meters
from watchkeeper.observe.spans import Context, Span, Spans, Working

log = structlog.get_logger("watchkeeper")

GUARDS = frozenset(Outcome) - {Outcome.ORDERED, Outcome.NOTHING_TO_DO, Outcome.DRY_RUN}
LOGGED = 20  # decisions of one step
SEEN = 33  # entries of one step that its trace is linked to
LATE = 2.0  # seconds after the end of a tick by which its step is promised
DELIVERED = Millis(60_000)  # after its decision by which an order is promised to be carried out


def _wall() -> Millis:
    return Millis(time.time_ns() // 1_000_000)


class Witness:
    """What the house tells of its work, as it does it.

    :param sink: takes finished spans. :param sample: share of traces that go there.
    :param clock: the wall's time; tests give another. :param counts: of spans, by outcome.
    """

    def __init__(
        self,
        sink: Callable[[Span], None] | None = None,
        sample: float = 0.0,
        clock: Callable[[], Millis] = _wall,
        counts: Mapping[str, int] | None = None,
    ) -> None:
        self.meters = Meters()
        self.spans = Spans(sink, sample, self._took)
        self.span_counts = counts or {}
        self.born = clock()
        self.events: Counter[str] = Counter()  # of each objective, since the start
        self.bad: Counter[str] = Counter()
        self._clock = clock
        self._seen: list[Context] = []  # scored since the last step, and collected
        self._last = 0  # the journal's last offset, as far as this ingest wrote it
        self._shown: list[Context] = []  # steps that no report has shown yet
        self._failing: dict[str, str] = {}  # source -> what it last complained of

    def belong(self, first: Entry, head: Offset) -> None:
        """Derive the ids of traces from a journal, so that they are the same after a restart.

        :param first: its first entry; no two journals begin alike. :param head: its last offset.
        """
        begun = [one.body for one in first.controls]
        self.spans.belong(f"{socket.gethostname()}/{first.arrived}/{begun}")
        self._last = head

    def kept(self, objective: str, *, well: bool) -> None:
        """Count one event of an objective (`packs/house/objectives.yaml`)."""
        self.events[objective] += 1
        self.bad[objective] += not well

    # ingest

    def round(self, requests: Sequence[Context | None]) -> tuple[Working, Context | None]:
        """Begin one round: in the trace of the first request that has one, else in a new one.

        :param requests: the context of each request that waits, None where it has none.
        :return: the round; and, when the trace is new and collected, the context for the first
            request, which is its beginning.
        """
        traced = [one for one in requests if one is not None]
        first = next((one for one in traced if one.sampled), None)
        begins = parent = None
        if first is not None:
            own, parent = self.spans.child(first), first
        else:
            own = self.spans.root("entry", self._last + 1)
            if own.sampled and requests:
                begins = parent = own
                own = self.spans.child(parent)
        links = [one for one in traced if one.sampled]
        work = self.spans.work("ingest", parent, own=own, links=links, requests=len(requests))
        return work, begins

    def journalled(self, offsets: Sequence[Offset], context: Context | None = None) -> None:
        """Remember whose work these entries are, and where the journal stands."""
        if not offsets:
            return
        if context is not None:
            self.spans.carry("entry", offsets, context)
        self._last = offsets[-1]

    def answered(self, outcome: str) -> None:
        """Count a request as the objective `loss` sees it: who asks in vain may lose it."""
        self.kept("loss", well=outcome != "overloaded")

    # decide

    def scoring(self, entries: Sequence[Entry]) -> Working:
        """Begin to score entries, in the trace that brought the first that is collected.

        Those that brought the others are linked.
        """
        brought = [self.spans.carried("entry", entry.offset) for entry in entries]
        place = next((k for k, one in enumerate(brought) if one.sampled), 0)
        first, parent, own = entries[place], brought[place], self.spans.child(brought[place])
        samples = sum(entry.samples.num_rows for entry in entries)
        if own.sampled and samples:
            self._seen = [*self._seen[1 - SEEN :], own]
        links = [one for one in brought if one.sampled and one is not parent]
        work = self.spans.work(
            "score", parent, own=own, links=links, entry=first.offset, offset=first.offset,
            source=first.source, samples=samples,
        )  # fmt: skip
        if not samples:  # a heartbeat, or another input that is not telemetry
            work.forget()
        return work

    def concluding(self) -> Working:
        """Begin to evaluate the ticks that are over, in the trace of the newest entry.

        Ticks in which nothing came that is collected begin a trace of their own.
        """
        if self._seen:
            return self.spans.work("conclude", self._seen[-1], links=self._seen)
        return self.spans.work("conclude", own=self.spans.root("ticks", self._clock()))

    def concluded(self, work: Working, steps: int) -> None:
        """The entries seen so far have had their steps; without any step nothing was concluded."""
        work.attributes["steps"] = steps
        if steps:
            self._seen = []
        else:
            work.forget()

    def committing(self, step: Step, concluded: Context) -> Working:
        """Begin to commit a step."""
        return self.spans.work(
            "commit", concluded, entry=step.offset, tick=step.tick,
            decisions=len(step.decisions), orders=len(step.orders),
        )  # fmt: skip

    def committed(self, step: Step, context: Context) -> None:
        """Count and log what was decided, and remember whose work the orders are."""
        late = (self._clock() - step.tick) / 1000
        self.meters.observe("decision_latency_seconds", late, of=context)
        self.kept("latency", well=late <= LATE)
        self.spans.carry("order", (order.key for order in step.orders), context)
        if context.sampled and (step.counts.accepted or step.decisions):
            self._shown = [*self._shown[1 - SEEN :], context]
        for number, one in enumerate(step.decisions):
            self.meters.count("decisions_total", one.policy, one.phase, one.outcome)
            if one.outcome in GUARDS:
                self.meters.count("guard_blocks_total", one.outcome)
            if number < LOGGED:
                log.info(
                    "decided", policy=one.policy, entity=one.entity, phase=str(one.phase),
                    severity=one.severity, outcome=str(one.outcome), reason=one.reason,
                    health=one.health,
                )  # fmt: skip
        if len(step.decisions) > LOGGED:
            log.info("decided_more", count=len(step.decisions) - LOGGED)

    # act

    def acting(self, order: Order, attempt: int) -> Working:
        """Begin one attempt at an order, in the trace of its decision."""
        return self.spans.work(
            "act", self.spans.carried("order", order.key), action=order.action,
            entity=order.entity, order=order.key, attempt=attempt,
        )  # fmt: skip

    def settled(self, order: Order, receipt: Receipt, work: Working) -> None:
        """Count and log what came of an attempt."""
        work.attributes["outcome"] = receipt.outcome
        self.meters.count("orders_total", order.action, receipt.outcome)
        said = {
            "action": order.action, "entity": order.entity, "order": order.key,
            "attempt": receipt.attempt, "detail": receipt.detail,
        }  # fmt: skip
        took = Millis(receipt.at - order.created)
        if receipt.outcome == "done":
            self.meters.observe(
                "delivery_duration_seconds", took / 1000, order.action, of=work.context
            )
            self.kept("delivery", well=took <= DELIVERED)
            log.info("delivered", **said)
            return
        work.failure = receipt.detail
        if receipt.outcome == "retry":
            log.warning("delivery_failed", **said)
            return
        self.kept("delivery", well=False)
        log.error("delivery_given_up", outcome=receipt.outcome, **said)

    # report

    def reporting(self) -> Working:
        """Begin to gather findings, in the trace of the newest step that none has shown yet."""
        links, self._shown = self._shown, []
        if links:
            return self.spans.work("report", links[-1], links=links)
        return self.spans.work("report", own=self.spans.root("report", self._clock()))

    # collect

    def failed(self, source: str, error: Exception) -> None:
        """Count a source's failure; log it when it is not the one of the time before."""
        self.meters.count("source_failures_total", source)
        said = str(error) or repr(error)
        if self._failing.get(source) != said:
            self._failing[source] = said
            code = getattr(error, "code", "")
            log.warning("source_failed", source=source, error=said, code=code)

    def recovered(self, source: str) -> None:
        """Log that a source answers again, if it did not."""
        if self._failing.pop(source, None) is not None:
            log.info("source_recovered", source=source)

    def _took(self, name: str, seconds: float, context: Context) -> None:
        if name == "receive":
            return  # told by receiver, see `Intake`
        if name != "ingest":
            self.meters.observe("stage_duration_seconds", seconds, name, of=context)
