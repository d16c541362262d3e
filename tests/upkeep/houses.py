"""Data folders for the tests of upkeep, and what a folder says."""

import hashlib
import itertools
import json
import tarfile
from pathlib import Path

from tests.test_pipeline import ENGINE, START, Stores, drain, rules, telemetry

from watchkeeper import config, pipeline
from watchkeeper.access.accounts import Accounts, Event
from watchkeeper.cutting import Cutter
from watchkeeper.errors import OutputError, Unfinished
from watchkeeper.journal.sqlite import Sqlite as JournalFile
from watchkeeper.ledger.sqlite import Sqlite as LedgerFile
from watchkeeper.model import Control, Millis, Receipt, canonical
from watchkeeper.pipeline import Decider
from watchkeeper.store.retention import Retention
from watchkeeper.upkeep.backup import back_up
from watchkeeper.upkeep.migrate import migrate
from watchkeeper.upkeep.repair import repair
from watchkeeper.upkeep.restore import Until, restore

NOW = Millis(1_800_000_000_000)
ERAS = Path(__file__).parent / "eras"
READ = (config.read_rulebook, ENGINE)


def a_house(folder, seconds=24):
    """A house in which one host went over its bound; of its two orders, one was delivered."""
    stores = Stores(folder, rules())
    telemetry(stores.begin(), seconds=seconds, hot_from=seconds // 3)
    drain(stores.decider())
    stores.ledger.note("handover", Millis(NOW - 5), canonical({"to": "ann"}))
    for order, _ in stores.ledger.outbox(NOW, 1):
        stores.ledger.settle(Receipt(order.key, 1, "done", "202", Millis(NOW - 1), Millis(NOW - 1)))
    stores.close()
    accounts = Accounts(folder)
    accounts.record(Event(Millis(NOW - 9), "person:ann", "command line", "sign_in", "done"))
    accounts.close()
    return folder


MINUTE = Retention(60_000)


def a_cut_house(folder, seconds, keep=MINUTE, bases=None):
    """A house that kept so much of its journal; all of it when told so."""
    stores = Stores(folder, rules())
    stores.begin()
    cutter = Cutter(stores.journal, stores.ledger, lambda: bases or keep)
    decider = Decider(
        stores.journal, stores.ledger, config.read_rulebook, ENGINE, kept=cutter.consider
    )
    for begin in range(0, seconds, 20):
        telemetry(stores, seconds=begin + 20, hot_from=seconds // 3, after=begin)
        kept(stores, decider, begin + 20)
        for order, attempts in stores.ledger.outbox(NOW, 9):
            stores.ledger.settle(Receipt(order.key, attempts + 1, "done", "", NOW, NOW))
        if keep.keep:
            cutter.look()
    stores.close()
    return folder


def about_to_be_cut(folder):
    """A house that has bases, and is about to keep another and to remove what is due."""
    a_cut_house(folder, 100, Retention(), bases=MINUTE)
    stores = Stores(folder, rules())
    stores.journal.note(Control("heartbeat", "clock", "{}"), Millis(START + 120_000))
    stores.close()
    return folder


def kept(stores, decider, second):
    """Let a second pass, so that nothing is pending and a checkpoint can be kept."""
    at = Millis(START + second * 1_000 + 500)
    stores.journal.note(Control("heartbeat", "clock", "{}"), at)
    drain(decider)
    assert decider.save()


def an_era(name, folder):
    """A data folder that an older release wrote."""
    with tarfile.open(ERAS / f"{name}.tar.xz") as tar:
        tar.extractall(folder, filter="data")
    return folder


def opened(folder):
    journal = JournalFile(path=folder / "journal.sqlite").open(read_only=True)
    return journal, LedgerFile(path=folder / "ledger.sqlite").open(read_only=True)


def entries(folder, upto=None):
    """Every entry as its samples, series, cursor and controls."""
    journal = JournalFile(path=Path(folder) / "journal.sqlite").open(read_only=True)
    try:
        return [
            (one.offset, one.arrived, one.source, one.cursor, one.controls,
             one.samples.to_pydict(), one.new.to_pydict(), one.rejected.to_pydict())
            for one in itertools.islice(pipeline.entries(journal), upto)
        ]  # fmt: skip
    finally:
        journal.close()


def picture(folder):
    """What a folder says: proven, its entries and decisions, what it owes and has delivered."""
    folder = Path(folder)
    journal, ledger = opened(folder)
    try:
        proof = pipeline.verify(journal, ledger, *READ)
        owed = [
            (order.key, receipt and (receipt.attempt, receipt.outcome))
            for order, receipt in ledger.orders(1_000)
        ]
        links = list(dict.fromkeys((link.kind, link.at) for link in ledger.links()))
        decided = [(one.key, str(one.outcome)) for one in ledger.decisions()]
    finally:
        ledger.close()
        journal.close()
    seen = hashlib.sha256(repr(entries(folder)).encode()).hexdigest()
    left = sorted(path.name for path in folder.iterdir() if path.name.startswith("."))
    return json.loads(json.dumps([proof.entries, proof.steps, owed, links, decided, seen, left]))


def _restored(root, until=None):
    try:
        done = restore(root / "kept", root / "data", until, *READ, NOW)
    except Unfinished:  # its files were being put in place
        return str(repair(root / "data", *READ, NOW))
    except OutputError:  # it died behind the end
        return "there already"
    return str(done)


def _backed_up(root):
    try:
        return str(back_up(root / "data", root / "made", NOW))
    except OutputError:
        return "there already"


def _cut(root):
    """Conclude what is there, keep a base of it, and remove what is due."""
    stores = Stores(root / "data", rules())
    cutter = Cutter(stores.journal, stores.ledger, lambda: MINUTE)
    decider = Decider(
        stores.journal, stores.ledger, config.read_rulebook, ENGINE, kept=cutter.consider
    )
    drain(decider)
    assert decider.save()
    cutter.look()
    first = stores.journal.first()
    stores.close()
    return str(first)


COMMANDS = {  # each works in a folder that holds `data`, `kept` or both
    "migrate": lambda root: str(migrate(root / "data", config.carried_on, *READ, NOW)),
    "repair": lambda root: str(repair(root / "data", *READ, NOW)),
    "restore": _restored,
    "restore_until": lambda root: _restored(root, Until(entry=10)),
    "backup": _backed_up,
    "cut": _cut,
}
RESULT = {"backup": "made"}  # where what it makes is; else in `data`
