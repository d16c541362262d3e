"""Once warm, no first request waits for a kernel. Told in an interpreter that has compiled none."""

import json
import subprocess
import sys
import textwrap

SCRIPT = """
    import gc, json, sys, threading, time
    from dataclasses import replace
    from pathlib import Path
    from types import SimpleNamespace

    import cramjam
    from numba.core.dispatcher import Dispatcher

    from benchmarks.ingest.payloads import requests
    from tests.test_pipeline import rules
    from watchkeeper import core
    from watchkeeper.engines.local import Local
    from watchkeeper.identity import Identity
    from watchkeeper.intake import Intake
    from watchkeeper.journal.sqlite import Sqlite
    from watchkeeper.ledger.sqlite import Sqlite as LedgerFile
    from watchkeeper.live._recent import Recent
    from watchkeeper.model import Control, Millis, canonical
    from watchkeeper.pipeline import Decider
    from watchkeeper.receivers import Delivery, Limits, Received
    from watchkeeper.waiting import cost
    from watchkeeper.receivers.alerts import Alerts
    from watchkeeper.receivers.influx import Influx
    from watchkeeper.receivers.json_lines import JsonLines
    from watchkeeper.receivers.otlp import Otlp
    from watchkeeper.receivers.remote_write import RemoteWrite
    from watchkeeper.service._warming import Warming

    NOW = int(time.time() * 1000)
    NAMED = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}

    def compiled():
        return {
            f"{one.__module__}.{one.__name__}": [str(each) for each in one.signatures]
            for one in gc.get_objects()
            if isinstance(one, Dispatcher) and one.signatures
        }

    receivers = [RemoteWrite(), Otlp(), Influx(), JsonLines(), Alerts()]
    journal = Sqlite(path=Path(sys.argv[1])).open()
    intake = Intake(journal)
    rulebook, engine, recent = rules(), Local(workers=1), Recent()
    contracts = rulebook.contracts
    house = SimpleNamespace(
        rulebook=rulebook, engine=engine, receivers=receivers, journal=journal,
        limits=Limits(), identity=Identity(),
    )
    core.warm_up(rulebook, engine)
    warming = Warming(house, intake, threading.Event())
    for receiver in receivers:
        warming.let_in(receiver)
    assert not intake.expected
    assert journal.head() == 0, "an example was stored"
    ledger = LedgerFile(path=Path(sys.argv[2])).open()
    decider = Decider(journal, ledger, lambda _: rulebook, engine, recent.add)
    journal.note(Control("rulebook", "test", canonical(rulebook.document)), Millis(NOW))
    intake.adopt(contracts)
    intake.closed = ""
    before, told = compiled(), []

    def push(receiver, *deliveries):
        for one in deliveries:
            intake.reserve(cost(len(one.body)))
            intake.deliver(receiver, replace(one, arrived=NOW), told.append)
        intake.round(1)

    for receiver in receivers:
        for example in receiver.examples():
            push(receiver, example, example)
    raw = bytes(cramjam.snappy.decompress_raw(receivers[0].examples()[0].body))
    turned = raw[len(raw) // 2 :] + raw[: len(raw) // 2]  # its two series the other way round
    packed = bytes(cramjam.snappy.compress_raw(turned))
    push(receivers[0], Delivery("POST", "/", {}, NAMED, packed, NOW))
    fleet = [Delivery("POST", "/", {}, NAMED, one.body, NOW) for one in requests(400, 4)]
    push(receivers[0], fleet[0])
    push(receivers[0], *reversed(fleet[1:]))
    for later in (5_000, 10_000):  # ends the tick of all of them, and one of none
        journal.note(Control("heartbeat", "test", "{}"), Millis(NOW + later))
        decider.decide()
    assert ledger.counts().scored, "nothing was decided"
    assert all(isinstance(one, Received) and one.accepted for one in told if one.offered), told
    print(json.dumps([len(told), before, compiled()]))
"""


def test_a_request_after_the_warm_up_and_its_decision_compile_nothing(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path / "journal.sqlite")]
    command += [str(tmp_path / "ledger.sqlite")]
    said = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert said.returncode == 0, said.stderr
    told, before, after = json.loads(said.stdout.splitlines()[-1])  # the log says what was decided
    assert told > 10
    assert before, "the warm-up compiled nothing"
    assert after == before
