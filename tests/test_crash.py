"""The whole program, killed: nothing that was acknowledged is lost, nothing is counted twice.

A file that grows stands for the sender. What the journal holds when a life ends must be there in
the next; at the end every line of the file is in the journal once and scored once, and the ledger
is proven. One house lives through all the deaths.
"""

import json
import os
import random
import signal
import time

import pytest
from tests import lives

from watchkeeper import config, pipeline
from watchkeeper.engines.local import Local
from watchkeeper.journal.sqlite import Sqlite as JournalFile
from watchkeeper.ledger.sqlite import Sqlite as LedgerFile

START = 1_750_000_000_000
POINTS = (
    "journal.before_commit",
    "journal.after_commit",
    "journal.before_checkpoint",
    "journal.after_checkpoint",
    "ledger.before_commit",
    "ledger.after_commit",
    "ledger.before_checkpoint",
    "ledger.after_checkpoint",
    "ledger.head_written",
    "ledger.head_replaced",
)
CONFIG = """
version: 1
tick: 100ms
packs: [generic@1]
sources:
  - {type: file, paths: [FEED], follow: true, interval: 50ms, batch_rows: 50}
policies:
  - name: odd
    when: coverage > 0.0
    for: 0s
    action: [log]
    mode: auto
    cooldown: 0s
    blast_radius: {amount: 100, percent: 100}
"""


class House:
    """A feed that grows, a data folder, and processes that die."""

    def __init__(self, folder):
        self.folder, self.feed, self.data = folder, folder / "feed.csv", folder / "data"
        self.feed.write_text("timestamp,entity,metric,value\n")
        self.config = folder / "config.yaml"
        self.config.write_text(CONFIG.replace("FEED", str(self.feed)))
        self.lines, self.head = 0, 0

    def grow(self, count=60):
        with self.feed.open("a") as feed:
            for _ in range(count):
                self.lines += 1
                at = START + self.lines * 1_000
                feed.write(f"{at},host:h{self.lines % 5},load,{self.lines % 7}\n")

    def live(self, point="-", nth=1, env=os.environ):
        words = ["run", "--config", self.config, "--data", self.data, "--listen", "127.0.0.1:0"]
        with (self.folder / "log").open("ab") as log:
            return lives.ready("tests.program").begin("at", point, nth, *words, out=log, env=env)

    def written(self):
        return JournalFile(path=self.data / "journal.sqlite").open(read_only=True)

    def written_head(self):
        """The newest entry that a reader of its own finds; 0 while there is no journal."""
        try:
            journal = self.written()
        except Exception:  # not there yet, or just being made
            return 0
        try:
            return journal.head()
        finally:
            journal.close()

    def check_nothing_acknowledged_is_lost(self):
        if not (self.data / "journal.sqlite").exists():
            return
        journal = self.written()
        assert journal.head() >= self.head
        self.head = journal.head()
        journal.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    return House(tmp_path_factory.mktemp("crash"))


def settle(house, seconds=60):
    """Let one life run until it has taken in the whole feed and concluded it; stop it kindly."""
    child = house.live()
    end = time.monotonic() + seconds
    while time.monotonic() < end and concluded(house) < house.lines:
        time.sleep(0.1)
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0, (house.folder / "log").read_text()[-3000:]


def concluded(house):
    try:
        ledger = LedgerFile(path=house.data / "ledger.sqlite").open(read_only=True)
    except Exception:  # not there yet, or just being made
        return 0
    try:
        return ledger.counts().accepted
    finally:
        ledger.close()


def prove(house):
    journal = house.written()
    ledger = LedgerFile(path=house.data / "ledger.sqlite").open(read_only=True)
    proof = pipeline.verify(journal, ledger, config.read_rulebook, Local(workers=1))
    counts = ledger.counts()
    times = []
    for entry in pipeline.entries(journal):
        times += entry.samples["time"].to_pylist()
    assert sorted(times) == [START + n * 1_000 for n in range(1, house.lines + 1)]
    assert (counts.accepted, counts.scored) == (house.lines, house.lines)
    assert (counts.duplicate, counts.late, counts.rejected) == (0, 0, 0)
    ledger.close()
    journal.close()
    return proof


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_named_point_nothing_is_lost_or_counted_twice(house, point):
    for nth in (1, 7):
        house.grow()
        child = house.live(point, nth, lives.unmeasured())
        end = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < end:
            house.grow(5)
            time.sleep(0.05)
        if child.poll() is None:
            child.kill()
            child.wait()
            pytest.fail(f"{point} was not reached {nth} times")
        assert child.returncode == -signal.SIGKILL, (house.folder / "log").read_text()[-3000:]
        house.check_nothing_acknowledged_is_lost()


def at_work(house, child):
    """Wait until this life has journalled something."""
    end = time.monotonic() + 60
    while house.written_head() <= house.head:
        assert child.poll() is None, (house.folder / "log").read_text()[-3000:]
        assert time.monotonic() < end, (house.folder / "log").read_text()[-3000:]
        time.sleep(0.02)


def test_killed_at_random_moments_nothing_is_lost_or_counted_twice(house):
    """One life in five may end before it began to work; the others end while the feed grows."""
    count = int(os.environ.get("WATCHKEEPER_LIVES", "15"))
    chance = random.Random(20261122)
    print(f"{count} lives, seed 20261122")
    for life in range(count):
        house.grow(20)
        child = house.live(env=lives.unmeasured())
        if life % 5:
            at_work(house, child)
        end = time.monotonic() + chance.uniform(0.0, 0.7)
        while time.monotonic() < end:
            house.grow(5)
            time.sleep(0.03)
        child.kill()
        child.wait()
        house.check_nothing_acknowledged_is_lost()
    settle(house)
    proof = prove(house)
    assert proof.steps > 0


def test_told_to_stop_under_load_it_drains_and_goes_on_where_it_was(house):
    house.grow(500)
    settle(house)
    before = prove(house)
    house.grow(500)
    settle(house)
    after = prove(house)
    assert after.entries > before.entries
    states = json.dumps(sorted(str(one.state) for one in health(house)))
    assert states.count('"') == 10
    log = (house.folder / "log").read_text()
    assert "page    http://127.0.0.1:" in log
    assert "http://127.0.0.1:0/" not in log


def health(house):
    ledger = LedgerFile(path=house.data / "ledger.sqlite").open(read_only=True)
    try:
        return ledger.health()
    finally:
        ledger.close()
