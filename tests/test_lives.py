"""Whatever befalls a house, in whatever order: it concludes what an undisturbed one would.

A machine draws lives of a house: telemetry that is new, told again, late or impossible; silence;
another rulebook; deliveries that fail; orderly restarts; and deaths before and after each durable
word. Beside it stand a model that counts samples by hand, and at the end a second ledger that reads
the same journal in one go.
"""

import contextlib
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.test_pipeline import CPU, ENGINE, START, Stores, batch, drain, rules, steps_of

from watchkeeper import config, pipeline
from watchkeeper.errors import ActionRetry
from watchkeeper.ledger.sqlite import Sqlite as LedgerFile
from watchkeeper.model import Control, Millis, canonical
from watchkeeper.pipeline import Decider, Offer

LIVES = int(os.environ.get("WATCHKEEPER_EXAMPLES", "3"))
HOSTS = ("host:a", "host:b", "host:c")
LATE = 20_000  # ms: how old a late sample is
CALM, HOT, IMPOSSIBLE = 0.2, 0.99, 7.0


class Killed(BaseException):
    """The process ends here."""


class Mortal:
    """A store that lets the process die around one of its words.

    :param word: the method that is durable when it returns.
    :param when: `before` it, `after` it, or never.
    """

    def __init__(self, store, word, when):
        self._store, self._word, self._when = store, word, when

    def __getattr__(self, name):
        method = getattr(self._store, name)
        if name != self._word:
            return method

        def said(*arguments):
            if self._when == "before":
                raise Killed
            answer = method(*arguments)
            if self._when == "after":
                raise Killed
            return answer

        return said


class Receiver:
    """Takes orders; it may be down, and its sender may die before it hears the answer."""

    def __init__(self):
        self.taken, self.times, self.mood = {}, Counter(), "well"

    def perform(self, order):
        if self.mood == "down":
            raise ActionRetry("down")
        self.taken.setdefault(order.key, set()).add(order.payload)
        self.times[order.key] += 1
        if self.mood == "deadly":
            raise Killed
        return "taken"


class Life(RuleBasedStateMachine):
    """One house, and what must be true of it."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp(prefix="life-"))
        self.stores = Stores(self.folder, rules()).begin()
        self.rulebook = rules()
        self.at = START
        self.receiver, self.deadly = Receiver(), 0
        self.last, self.counts, self.told = {}, Counter(), []
        self.deciding = self.decider("never")

    def decider(self, dies):
        ledger = Mortal(self.stores.ledger, "commit", dies)
        return Decider(self.stores.journal, ledger, config.read_rulebook, ENGINE)

    def later(self, millis):
        self.at += millis
        return Millis(self.at)

    def note(self, kind, body, millis):
        self.stores.journal.note(Control(kind, "test", body), self.later(millis))

    def offer(self, rows, dies="never"):
        """Offer rows as a sender does: until they are acknowledged."""
        at = self.later(1_000)
        journal = Mortal(self.stores.journal, "append", dies)
        try:
            pipeline.ingest([Offer(batch(rows), at)], self.rulebook.contracts, journal)
        except Killed:
            self.reborn()
            if dies == "after":
                self.counted(rows)  # it was durable, though nobody was told
            self.offer(rows)
        else:
            self.counted(rows)
            self.told.append(rows)

    def counted(self, rows):
        for entity, metric, time, value in rows:
            last = self.last.get((entity, metric), 0)
            if value == IMPOSSIBLE:
                self.counts["rejected"] += 1
            elif time > last:
                self.counts["scored"] += 1
                self.last[entity, metric] = time
            else:
                self.counts["duplicate" if time == last else "late"] += 1

    def reborn(self, dies="never"):
        """End without a word, and begin again on what is durable."""
        self.deciding.save(within=-1.0)  # one that is being kept ends first; none is begun
        self.stores.close()
        self.stores = Stores(self.folder, rules())
        self.deciding = self.decider(dies)

    @rule(
        who=st.lists(st.sampled_from(HOSTS), min_size=1, unique=True),
        value=st.sampled_from((CALM, HOT, HOT, IMPOSSIBLE)),
        dies=st.sampled_from(("never", "never", "before", "after")),
        seconds=st.integers(1, 4),
    )
    def telemetry(self, who, value, dies, seconds):
        for _ in range(seconds):
            self.offer([(one, CPU, self.at + 995, value) for one in who], dies)

    @precondition(lambda self: self.told)
    @rule(back=st.integers(1, 5))
    def told_again(self, back):
        self.offer(self.told[-min(back, len(self.told))])

    @precondition(lambda self: self.last)
    @rule(who=st.sampled_from(HOSTS), value=st.sampled_from((CALM, HOT)))
    def told_late(self, who, value):
        if (who, CPU) in self.last:
            self.offer([(who, CPU, self.last[who, CPU] - LATE, value)])

    @rule(seconds=st.sampled_from((1, 3, 30, 400)))
    def silence(self, seconds):
        self.note("heartbeat", "{}", seconds * 1_000)

    @rule(acting=st.booleans())
    def another_rulebook(self, acting):
        now = rules() if acting else config.without_acts(rules())
        self.note("rulebook", canonical(now.document), 500)

    @rule(limit=st.integers(1, 20))
    def decide(self, limit):
        self.deciding.decide(limit)

    @rule(dies=st.sampled_from(("before", "after")))
    def die_over_a_step(self, dies):
        self.reborn(dies)
        with contextlib.suppress(Killed):
            drain(self.deciding)
        self.reborn()

    @rule()
    def restart(self):
        self.note("stopped", "{}", 100)
        drain(self.deciding)
        self.deciding.save()
        self.reborn()
        self.note("started", "{}", 5_000)

    @rule(mood=st.sampled_from(("well", "down", "deadly")))
    def act(self, mood):
        self.receiver.mood = mood
        try:
            self.carry_out(5)
        except Killed:
            self.deadly += 1
            self.reborn()
        self.receiver.mood = "well"

    def carry_out(self, limit):
        actions = {"log": self.receiver}
        return pipeline.act(self.stores.ledger, actions, now=lambda: self.later(0), limit=limit)

    def teardown(self):
        try:
            self.ended_well()
        finally:
            self.stores.close()
            shutil.rmtree(self.folder)

    def ended_well(self):
        self.note("heartbeat", "{}", 5_000)
        drain(self.deciding)
        self.stores.verify()
        while self.stores.ledger.outbox(Millis(2**60), 1):
            self.later(3_600_000)
            self.carry_out(100)

        counts = self.stores.ledger.counts()
        assert Counter(
            scored=counts.scored, late=counts.late, duplicate=counts.duplicate,
            rejected=counts.rejected,
        ) == self.counts  # fmt: skip

        other = LedgerFile(path=self.folder / "undisturbed.sqlite").open()
        drain(Decider(self.stores.journal, other, config.read_rulebook, ENGINE))
        links = [link.body for link in other.links() if link.kind == "step"]
        owed = {order.key for order, _ in other.orders(10_000)}
        other.close()
        assert steps_of(self.stores) == links
        assert set(self.receiver.taken) == owed, "each order arrived, and nothing else did"
        assert all(len(said) == 1 for said in self.receiver.taken.values()), "in the same words"
        assert self.receiver.times.total() <= len(owed) + self.deadly, "twice only after a death"


SETTINGS = settings(
    max_examples=LIVES, stateful_step_count=50, deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip


@pytest.mark.timeout(600 + 60 * LIVES)
def test_a_disturbed_life_concludes_what_an_undisturbed_one_does():
    run_state_machine_as_test(Life, settings=SETTINGS)
