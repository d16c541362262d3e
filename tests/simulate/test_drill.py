import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from watchkeeper.errors import InputError
from watchkeeper.simulate.drill import drill
from watchkeeper.simulate.truth import Known, Truth

MINUTE = 60_000
DAY = 1440 * MINUTE


def fault(number, entity, kind, onset, end, fail=None, benign=False, metric="m"):
    """A truth with times in minutes, detectable 5 minutes after its onset."""
    seen = None if benign else (onset + 5) * MINUTE
    fail = None if fail is None else fail * MINUTE
    action = "none" if benign else "act"
    times = (onset * MINUTE, seen, fail, end * MINUTE)
    return Truth(number, entity, kind, (metric,), *times, action, benign)


def known(*faults, entities=2, days=5):
    return Known(1, {}, entities, 0, days * DAY, faults)


def results(folder, unwell=(), alarms=(), fired=(), refused=(), entities=("host:a", "host:b")):
    """Write what `score` would: (entity, state, first minute, last minute), …, in odd order."""
    minutes = np.arange(0, 1440)
    stamps = pa.array(minutes * MINUTE).cast(pa.timestamp("ms", "UTC"))
    tables = []
    for entity in entities:
        state = np.full(1440, "ok", object)
        for name, what, first, last in unwell:
            if name == entity:
                state[first:last] = what
        names = pa.array([entity] * 1440).dictionary_encode()
        tables.append(
            pa.table(
                {"time": stamps, "entity": names, "state": pa.array(state).dictionary_encode()}
            )
        )
    pq.write_table(pa.concat_tables(reversed(tables)), folder / "health.parquet")
    rows = [*alarms, ("host:a", "m", 3, 0.9)]
    scores = pa.table(
        {
            "entity": pa.array([row[0] for row in rows]).dictionary_encode(),
            "metric": pa.array([row[1] for row in rows]).dictionary_encode(),
            "time": pa.array([row[2] * MINUTE for row in rows]).cast(pa.timestamp("ms", "UTC")),
            "onset": pa.array([float(row[3]) for row in rows]),
        }
    )
    pq.write_table(scores, folder / "scores.parquet")
    quarantine = pa.table(
        {
            "entity": pa.array([row[0] for row in refused], pa.string()),
            "metric": pa.array([row[1] for row in refused], pa.string()),
            "time": pa.array([row[2] for row in refused], pa.int64()),
        }
    )
    pq.write_table(quarantine, folder / "quarantine.parquet")
    lines = [
        json.dumps({"entity": entity, "phase": phase, "at": at * MINUTE}) + "\n"
        for entity, phase, at in fired
    ]
    (folder / "decisions.jsonl").write_text("".join(lines))
    return folder


def test_a_fault_noticed_before_its_failure_has_delay_and_lead(tmp_path):
    truth = known(fault(0, "host:a", "leak", 100, 400, fail=300))
    results(
        tmp_path,
        unwell=[("host:a", "warn", 120, 130), ("host:a", "fail", 130, 350)],
        alarms=[("host:a", "m", 110, 1.5), ("host:a", "other", 105, 9.0)],
        fired=[("host:a", "pending", 121), ("host:a", "firing", 125)],
    )
    found = drill(truth, tmp_path)
    (finding,) = found.findings
    assert finding.alarmed == 110 * MINUTE
    assert finding.unwell == 120 * MINUTE
    assert finding.fired == 125 * MINUTE
    assert (finding.delay, finding.lead) == (15 * 60, 180 * 60)
    assert found.recall == 1.0
    assert (found.incidents, found.false_incidents, found.false_decisions) == (1, 0, 0)


def test_what_begins_outside_a_real_fault_is_false_and_is_rated_by_entity_days(tmp_path):
    truth = known(
        fault(0, "host:a", "leak", 100, 200), fault(1, "host:b", "hot_day", 0, 1000, benign=True)
    )
    results(
        tmp_path,
        unwell=[
            ("host:a", "fail", 50, 150),  # began before the onset
            ("host:a", "warn", 214, 216),  # within the grace
            ("host:a", "warn", 217, 219),  # after it
            ("host:b", "warn", 500, 501),  # a benign twin
        ],
        fired=[("host:b", "firing", 500), ("host:a", "firing", 214)],
    )
    found = drill(truth, tmp_path)
    assert (found.incidents, found.false_incidents) == (4, 3)
    assert (found.decisions, found.false_decisions) == (2, 1)
    assert found.document()["false_incidents_per_1000_entity_days"] == 300.0
    assert drill(truth, tmp_path, grace=20 * MINUTE).false_incidents == 2


def test_a_missed_fault_counts_against_recall_and_a_benign_one_does_not(tmp_path):
    truth = known(
        fault(0, "host:a", "leak", 100, 200),
        fault(1, "host:b", "leak", 100, 200),
        fault(2, "host:b", "hot_day", 100, 200, benign=True),
    )
    results(tmp_path, unwell=[("host:b", "fail", 110, 150)])
    found = drill(truth, tmp_path)
    assert found.recall == 0.5
    kinds = found.document()["kinds"]
    assert kinds["leak"] | {"delay_median_s": 0} == {
        "faults": 2,
        "benign": False,
        "alarmed": 0,
        "unwell": 1,
        "fired": 0,
        "quarantined": 0,
        "delay_median_s": 0,
        "lead_median_s": None,
    }
    assert kinds["hot_day"]["benign"]


def test_unknown_health_is_how_missing_data_is_noticed_and_nothing_else(tmp_path):
    truth = known(
        fault(0, "host:a", "missing_data", 100, 200), fault(1, "host:b", "leak", 100, 200)
    )
    gaps = [("host:a", "unknown", 104, 180), ("host:b", "unknown", 104, 180)]
    results(tmp_path, unwell=gaps)
    first, second = drill(truth, tmp_path).findings
    assert first.unwell == 104 * MINUTE
    assert second.noticed is None


def test_a_host_already_unwell_is_noticed_when_it_gets_worse(tmp_path):
    truth = known(fault(0, "host:a", "leak", 100, 200))
    results(tmp_path, unwell=[("host:a", "warn", 1, 120), ("host:a", "fail", 120, 130)])
    found = drill(truth, tmp_path)
    assert found.findings[0].noticed == 120 * MINUTE
    assert (found.incidents, found.false_incidents) == (1, 1)


def test_quarantine_is_how_a_lying_sensor_is_noticed_and_nothing_else(tmp_path):
    truth = known(fault(0, "host:a", "bad_sensor", 100, 200), fault(1, "host:b", "leak", 100, 200))
    refused = [
        ("host:a", "m", None),
        ("host:a", "m", 90 * MINUTE),
        ("host:a", "other", 101 * MINUTE),
        ("host:a", "m", 106 * MINUTE),
        ("host:b", "m", 106 * MINUTE),
    ]
    first, second = drill(truth, results(tmp_path, refused=refused)).findings
    assert first.noticed == first.quarantined == 106 * MINUTE
    assert second.quarantined == 106 * MINUTE
    assert second.noticed is None


def test_one_cause_is_noticed_when_one_of_its_hosts_is(tmp_path):
    truth = known(
        fault(0, "host:a", "rack", 100, 200, fail=100), fault(0, "host:b", "rack", 100, 200)
    )
    results(tmp_path, unwell=[("host:a", "fail", 101, 150)])
    document = drill(truth, tmp_path).document()
    assert (document["causes"], document["causes_noticed"], document["recall"]) == (1, 1, 0.5)
    assert document["lead_median_s"] == document["lead_p10_s"] == -60.0


def test_a_quiet_run_over_a_quiet_fleet_is_a_clean_sheet(tmp_path):
    document = drill(known(), results(tmp_path)).document()
    assert document["recall"] is None
    assert document["false_incidents"] == document["incidents"] == 0
    assert json.loads(json.dumps(document, allow_nan=False)) == document


@pytest.mark.parametrize(
    "name", ["health.parquet", "scores.parquet", "decisions.jsonl", "quarantine.parquet"]
)
def test_results_that_are_missing_or_broken_are_an_input_error(tmp_path, name):
    results(tmp_path)
    (tmp_path / name).write_text("{broken")
    with pytest.raises(InputError, match="not the results"):
        drill(known(), tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match="give the folder"):
        drill(known(), tmp_path)
