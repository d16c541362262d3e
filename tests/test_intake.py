"""What waits to become durable: who is told what, within which bounds, and that it adds up."""

import gc
import gzip
import threading
import time
import tracemalloc

import cramjam
import pytest
from tests.pushing import Plain, delivery
from tests.receivers import prometheus_naive
from tests.test_pipeline import CPU, batch, rules

from watchkeeper import memory
from watchkeeper import traffic as traffic_module
from watchkeeper.errors import Malformed, Overloaded, OverQuota, StoreError, StoreFull, TooLarge
from watchkeeper.intake import BEGUN_MAX, POSTPONED_MAX, Intake
from watchkeeper.journal.sqlite import Sqlite
from watchkeeper.memory import SERIES
from watchkeeper.model import Millis
from watchkeeper.receivers import Delivery, Limits, Received, remote_write
from watchkeeper.receivers.influx import Influx
from watchkeeper.receivers.json_lines import JsonLines
from watchkeeper.receivers.remote_write import RemoteWrite
from watchkeeper.traffic import Gathering, Quota
from watchkeeper.waiting import COST_MIN

NOW = 1_700_000_000_000
PLAIN = Plain()


class Failing:
    """A journal whose next appends raise what is asked for."""

    def __init__(self, journal):
        self.journal, self.errors = journal, []

    def __getattr__(self, name):
        return getattr(self.journal, name)

    def append(self, batches):
        if self.errors:
            raise self.errors.pop(0)
        return self.journal.append(batches)


@pytest.fixture
def journal(tmp_path):
    opened = Sqlite(path=tmp_path / "journal.sqlite").open()
    yield Failing(opened)
    opened.close()


def begun(journal, **limits):
    intake = Intake(journal, limits=Limits(**limits))
    intake.adopt(rules().contracts)
    intake.closed = ""
    return intake


def push(intake, body, tenant="", arrived=NOW):
    told = []
    one = delivery(body, tenant, arrived)
    intake.reserve(max(COST_MIN, len(one.body)))
    intake.deliver(PLAIN, one, told.append)
    return told


def line(entity="host:a", metric=CPU, at=NOW, value=0.5):
    return f"{entity} {metric} {at} {value}\n"


def held(journal):
    keys = journal.series().to_pylist()
    return [
        (keys[s]["entity"], keys[s]["metric"], t, v)
        for entry in journal.read(0, 1000)
        for s, t, v in zip(*(entry.samples[n].to_pylist() for n in ("series", "time", "value")),
                           strict=True)
    ]  # fmt: skip


def test_a_client_is_told_when_its_samples_are_durable(journal):
    intake = begun(journal)
    told = push(intake, line() + line(at=NOW + 1, value=0.6))
    assert not told, "nothing is acknowledged before its round"
    assert intake.round(0)
    assert told == [Received(offered=2, accepted=2)]
    assert held(journal) == [("host:a", CPU, NOW, 0.5), ("host:a", CPU, NOW + 1, 0.6)]
    assert intake.waiting == (0, 0)


def test_requests_that_wait_together_become_one_entry_and_each_gets_its_own_answer(journal):
    intake = begun(journal)
    first = push(intake, line("host:b") + line("host:a", value=7.0))
    second = push(intake, "?\n" + line("host:a", at=NOW + 5))
    third = push(intake, line("host:c"), arrived=NOW + 9)
    assert intake.round(0)
    entries = list(journal.read(0, 10))
    assert len(entries) == 1
    assert entries[0].arrived == NOW + 9
    assert first[0].rejected == 1
    assert first[0].reasons == {"above_bound": 1}
    assert first[0].first == f"host:a {CPU}: value <= 1.01"
    assert second[0].reasons == {"malformed": 1}
    assert third == [Received(offered=1, accepted=1)]
    assert sorted(held(journal)) == sorted(
        [("host:a", CPU, NOW + 5, 0.5), ("host:b", CPU, NOW, 0.5), ("host:c", CPU, NOW, 0.5)]
    )
    origins = entries[0].rejected["origin"].to_pylist()
    assert origins == ["plain request 1", "plain request 1:line 1"]
    traffic = intake.traffic
    assert (traffic.offered, traffic.accepted, traffic.rejected, traffic.shed) == (5, 3, 2, 0)
    assert traffic.requests == {("plain", "partly"): 2, ("plain", "stored"): 1}


def meanwhile(intake, first, second):
    """Push `first`, and `second` while the round of the first is made; return what is told."""
    told, one = [], delivery(first, "", NOW)
    intake.reserve(COST_MIN)
    intake.deliver(PLAIN, one, lambda _: told.append(push(intake, second)))
    assert intake.round(0)
    return told[0]


def test_whom_a_small_round_answered_joins_who_came_meanwhile(journal, monkeypatch):
    monkeypatch.setattr(traffic_module, "GATHER", 60.0)
    intake = begun(journal)
    second = meanwhile(intake, line("host:a"), line("host:b"))
    rounds = threading.Thread(target=intake.round, args=(0,))
    rounds.start()
    again = push(intake, line("host:a", at=NOW + 5))
    rounds.join(30)
    assert not rounds.is_alive()
    assert second == again == [Received(offered=1, accepted=1)]
    assert journal.head() == 2


def test_whoever_waits_is_woken_once_for_all_who_are_expected():
    woken, waiting = [], [1]
    changed = threading.Condition()
    changed.notify = lambda: woken.append(len(waiting))
    gathering = Gathering(changed, waiting)
    gathering.ended([1])  # answered one, and another came meanwhile
    with changed:
        gathering.came()
        waiting.append(2)
        gathering.came()
    assert woken == [2], "one alone is not what is waited for"
    assert gathering.wait(0)
    waiting.clear()
    assert not gathering.wait(0)
    waiting.append(3)
    with changed:
        gathering.came()
    assert woken == [2, 1], "nobody is expected any more"


def test_a_lone_sender_and_one_after_a_pause_wait_for_nobody(journal, monkeypatch):
    monkeypatch.setattr(traffic_module, "GATHER", 3_600.0)
    intake = begun(journal)
    for name in ("host:a", "host:b"):
        told = push(intake, line(name))
        assert intake.round(0)
        assert told == [Received(offered=1, accepted=1)]
    monkeypatch.setattr(traffic_module, "GATHER", 0.0)
    told = meanwhile(intake, line("host:c"), line("host:d"))
    assert intake.round(0)
    assert told == [Received(offered=1, accepted=1)]


def test_after_a_round_that_was_worth_it_nobody_is_waited_for(journal, monkeypatch):
    monkeypatch.setattr(traffic_module, "GATHER", 3_600.0)
    monkeypatch.setattr(traffic_module, "WORTH", 1)
    intake = begun(journal)
    told = meanwhile(intake, line("host:a"), line("host:b"))
    assert intake.round(0)
    assert told == [Received(offered=1, accepted=1)]


def test_what_cannot_be_decoded_costs_only_itself(journal):
    intake = begun(journal)
    wrong, broken, good = push(intake, "!"), push(intake, "#"), push(intake, line())
    empty = push(intake, "")
    assert intake.round(0)
    assert isinstance(wrong[0], Malformed)
    assert isinstance(broken[0], Malformed)
    assert good == [Received(offered=1, accepted=1)]
    assert empty == [Received()]
    assert intake.waiting == (0, 0)


def test_a_full_disk_asks_clients_to_come_again_and_keeps_what_sources_brought(journal):
    intake = begun(journal)
    done = []
    assert intake.offer(batch([("host:s", CPU, NOW, 0.1)]), Millis(NOW), done.append)
    told = push(intake, line())
    journal.errors = [StoreFull("no space left")]
    with pytest.raises(StoreFull):
        intake.round(0)
    assert isinstance(told[0], Overloaded)
    assert told[0].retry_after >= 1
    assert not done
    assert intake.full
    assert intake.traffic.shed == 1
    again = push(intake, line())
    assert intake.round(0)
    assert done == [Received(offered=1, accepted=1)]
    assert again == [Received(offered=1, accepted=1)]
    assert not intake.full
    assert intake.traffic.offered == 3
    intake.traffic.check()


def test_a_failing_disk_is_told_to_everybody(journal):
    intake = begun(journal)
    done, told = [], push(intake, line())
    intake.offer(batch([("host:s", CPU, NOW, 0.1)]), Millis(NOW), done.append)
    journal.errors = [StoreError("input/output error")]
    with pytest.raises(StoreError):
        intake.round(0)
    assert isinstance(told[0], Overloaded)
    assert isinstance(done[0], Overloaded)


def test_no_more_bytes_wait_than_allowed_and_they_are_given_back(journal):
    intake = begun(journal, waiting=4 * COST_MIN)
    told = [push(intake, line()) for _ in range(4)]
    with pytest.raises(Overloaded) as refused:
        intake.reserve(1)
    assert refused.value.retry_after
    intake.round(0)
    assert all(told)
    intake.reserve(4 * COST_MIN)
    intake.release(4 * COST_MIN)
    intake.closed = "stopping"
    with pytest.raises(Overloaded, match="stopping"):
        intake.reserve(1)


def test_a_house_that_closes_tells_those_who_still_wait(journal):
    intake = begun(journal)
    told, done = push(intake, line()), []
    intake.offer(batch([("host:s", CPU, NOW, 0.1)]), Millis(NOW), done.append)
    intake.refuse("stopping")
    assert isinstance(told[0], Overloaded)
    assert isinstance(done[0], Overloaded)
    assert intake.waiting == (0, 0)
    assert isinstance(push(intake, line())[0], Overloaded), "nobody waits for a round that never is"
    assert intake.waiting == (0, 0)


def test_new_series_beyond_the_tenants_limit_are_refused_and_its_others_are_kept(journal):
    intake = begun(journal, tenant_new_series=2, tenant_series=3)
    told = push(intake, "".join(line(f"host:{n}") for n in range(4)), tenant="small")
    other = push(intake, line("host:x"), tenant="other")
    intake.round(0)
    assert told[0].accepted == 2
    assert told[0].reasons == {"too_many_series": 2}
    assert other[0].accepted == 1
    again = push(intake, line("host:0", at=NOW + 1) + line("host:3", at=NOW + 1), tenant="small")
    intake.round(0)
    assert again[0].accepted == 1
    intake._quota("small")._new = 2.0  # a minute later
    later = push(intake, "".join(line(f"host:{n}", at=NOW + 2) for n in range(4)), tenant="small")
    intake.round(0)
    assert later[0].accepted == 3, "three series are all this tenant may have"


def test_series_of_one_metric_beyond_the_tenants_limit_are_refused_and_all_else_is_kept(journal):
    intake = begun(journal, tenant_metric_series=3)

    def sent(tenant, metric, hosts, at=NOW):
        told = push(intake, "".join(line(f"host:{n}", metric, at=at) for n in hosts), tenant=tenant)
        assert intake.round(0)
        return told[0].accepted, told[0].reasons.get("too_many_series", 0), told[0].first

    said = "host:3 requests: at most 3 series of one metric from one sender"
    assert sent("greedy", "requests", range(1_000)) == (3, 997, said)
    assert sent("greedy", "requests", range(5), at=NOW + 1) == (3, 2, said)
    assert sent("greedy", "errors", range(2)) == (2, 0, "")
    assert sent("other", "requests", range(100, 103)) == (3, 0, "")
    assert sent("other", "requests", range(3), at=NOW + 2) == (3, 0, ""), "known, so not new"
    assert intake.traffic.reasons == {"too_many_series": 999}
    intake.adopt_limits(Limits(tenant_metric_series=4))
    assert sent("greedy", "requests", range(5), at=NOW + 3)[:2] == (4, 1), "one more than before"


def test_metrics_that_are_refused_are_not_counted_one_by_one(journal):
    intake = begun(journal, tenant_series=5)
    push(intake, "".join(line("host:a", f"m{n}") for n in range(1_000)), tenant="greedy")
    assert intake.round(0)
    assert len(intake._quota("greedy")._of_metric) == 5


def test_json_lines_are_held_to_the_same_limits(journal):
    intake = begun(journal, tenant_series=3, tenant_metric_series=2)
    told = []
    for metrics in ("mmm", "nno"):
        body = "\n".join(
            f'{{"time": {NOW // 1000}, "entity": "host:{n}", "metric": "{m}", "value": 1}}'
            for n, m in enumerate(metrics)
        ).encode()
        intake.reserve(max(COST_MIN, len(body)))
        one = Delivery("POST", "/api/v1/samples", {}, {}, body, Millis(NOW), "greedy")
        intake.deliver(JsonLines(), one, told.append)
        assert intake.round(0)
    assert [(one.accepted, one.reasons) for one in told] == [
        (2, {"too_many_series": 1}), (1, {"too_many_series": 2}),
    ]  # fmt: skip


def write(intake, metric, hosts, tenant, at=NOW):
    """Push one sample of each host by remote write."""
    told, series = [], []
    for n in hosts:
        labels = [("__name__", metric), ("instance", f"h{n}:1")]
        series.append((labels, [(at, 1.0)], []))
    body = bytes(cramjam.snappy.compress_raw(prometheus_naive.first(series)))
    headers = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
    intake.reserve(max(COST_MIN, len(body)))
    one = Delivery("POST", "/api/v1/write", {}, headers, body, Millis(NOW), tenant)
    intake.deliver(RemoteWrite(), one, told.append)
    return told


@pytest.fixture
def turns(monkeypatch):
    """A turn is of two series."""
    monkeypatch.setattr(remote_write, "TURN", 2)


def test_a_request_full_of_new_series_lets_others_go_first(journal, turns):
    intake = begun(journal)
    long = write(intake, "m", range(10), "greedy")
    for n in range(3):
        short = push(intake, line("host:a", at=NOW + n), tenant="modest")
        assert intake.round(0)
        assert short == [Received(offered=1, accepted=1)]
        assert not long
    assert intake.waiting[0] == 1
    assert intake.round(0)
    assert long == [Received(offered=10, accepted=10)]
    assert intake.waiting == (0, 0)
    assert len(held(journal)) == 13
    write(intake, "m", range(10), "greedy", at=NOW + 5)
    assert intake.round(0)
    assert len(held(journal)) == 23, "what is known takes no turns"


def test_others_who_never_pause_do_not_keep_it_waiting_for_ever(journal, turns):
    intake, rounds = begun(journal), 0
    long = write(intake, "m", range(6), "greedy")
    while not long:
        push(intake, line("host:a", at=NOW + rounds), tenant="modest")
        assert intake.round(0)
        rounds += 1
        assert rounds <= 4 * (POSTPONED_MAX + 1)
    assert long == [Received(offered=6, accepted=6)]


def test_requests_of_one_sender_keep_their_order_though_the_first_takes_turns(journal, turns):
    intake = begun(journal)
    first = write(intake, "m", range(6), "one")
    second = write(intake, "m", range(8), "one", at=NOW + 1)
    beside = write(intake, "n", range(6), "two")
    while not (first and second and beside):
        assert intake.round(0)
        assert len(first) >= len(second)
    found = held(journal)
    assert len(found) == 6 + 8 + 6
    for n in range(6):
        times = [
            at for entity, metric, at, _ in found if (entity, metric) == (f"target:h{n}:1", "m")
        ]
        assert times == [NOW, NOW + 1]


def test_no_more_than_a_few_are_half_decoded_at_once(journal, turns):
    intake = begun(journal)
    told = [write(intake, "m", range(6), f"t{n}") for n in range(3 * BEGUN_MAX)]
    assert intake.round(0)
    assert len(intake._begun) <= BEGUN_MAX
    while not all(told):
        assert intake.round(0)
    assert [one[0].accepted for one in told] == [6] * len(told)


def test_a_request_is_sent_away_as_soon_as_memory_is_too_short_for_what_is_new_in_it(
    journal, turns, monkeypatch
):
    intake = begun(journal)
    room = intake.memory.most // 10 + 5 * SERIES
    monkeypatch.setattr(memory, "left", lambda _most: room)
    told = write(intake, "m", range(10), "greedy")
    assert not intake.round(0)
    assert isinstance(told[0], Overloaded)
    assert intake.waiting == (0, 0)
    assert not intake._begun
    monkeypatch.setattr(memory, "left", lambda _most: room + 100 * SERIES)
    time.sleep(2 * memory.LOOK)
    again = write(intake, "m", range(10), "greedy")
    assert intake.round(0)
    assert again == [Received(offered=10, accepted=10)], "it is met anew, and counted once"
    assert intake._quota("greedy").of_metric("m") == 10


def test_series_a_tenant_may_not_add_are_no_reason_to_send_it_away(journal, monkeypatch):
    intake = begun(journal, tenant_series=2)
    room = intake.memory.most // 10 + 500 * SERIES  # beside the tenth that is for sources
    monkeypatch.setattr(memory, "left", lambda _most: room)
    told = push(intake, "".join(line(f"host:{n}") for n in range(1_000)), tenant="greedy")
    assert intake.round(0)
    assert (told[0].accepted, told[0].reasons) == (2, {"too_many_series": 998})
    other = push(intake, "".join(line(f"host:x{n}") for n in range(3)), tenant="other")
    assert intake.round(0)
    assert (other[0].accepted, other[0].reasons) == (2, {"too_many_series": 1})


def test_series_the_journal_knows_are_not_new_after_a_restart(journal):
    intake = begun(journal, tenant_new_series=2)
    push(intake, line("host:0") + line("host:1"))
    intake.round(0)
    again = begun(journal, tenant_new_series=0)
    told = push(again, line("host:0", at=NOW + 1) + line("host:1", at=NOW + 1) + line("host:2"))
    again.round(0)
    assert told[0].accepted == 2


def test_a_tenant_over_its_rate_waits_and_others_do_not(journal):
    intake = begun(journal, tenant_samples=10)
    push(intake, "".join(line(at=NOW + n) for n in range(100)), tenant="loud")
    intake.round(0)
    with pytest.raises(OverQuota) as refused:
        intake.admit(Influx(), "loud")
    assert 5 < refused.value.retry_after < 10
    intake.admit(Influx(), "quiet")


def test_one_tenant_too_many_is_turned_away_and_the_known_ones_go_on(journal):
    intake = begun(journal, tenants=2)
    for tenant in ("", "a"):
        push(intake, line(), tenant=tenant)
    intake.round(0)
    with pytest.raises(OverQuota, match="more than 2 tenants"):
        intake.admit(Influx(), "b")
    intake.admit(Influx(), "a")


def added(quota, wanted):
    """Add so many series, or as many as there is room for; return how many."""
    allowed = min(wanted, quota.room())
    for _ in range(allowed):
        quota.add("m")
    return allowed


def test_a_quota_fills_up_again(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    quota = Quota(Limits(tenant_samples=10, tenant_new_series=60, tenant_series=100))
    assert added(quota, 70) == 60
    assert added(quota, 1) == 0
    now[0] += 2
    assert added(quota, 5) == 2
    now[0] += 3600
    assert added(quota, 70) == 38, "the limit on all series holds"
    quota.spend(30)
    assert quota.late() == pytest.approx(2.0)
    now[0] += 2.1
    assert quota.late() == 0


def test_many_clients_at_once_lose_nothing(journal):
    intake = begun(journal)
    told, stop = [], threading.Event()

    def client(number):
        for n in range(30):
            told.append(push(intake, line(f"host:{number}", at=NOW + n)))

    def rounds():
        while not stop.is_set() or intake.waiting[0]:
            intake.round(0.01)

    worker = threading.Thread(target=rounds)
    worker.start()
    clients = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    stop.set()
    worker.join()
    assert all(one == [Received(offered=1, accepted=1)] for one in told)
    assert len(set(held(journal))) == 240
    assert intake.traffic.accepted == 240


def test_what_a_refused_body_unpacked_to_is_let_go_at_once(journal):
    intake, told = begun(journal, body=4 << 20), []
    bomb = gzip.compress(bytes(8 << 20))

    def push_it():
        intake.reserve(len(bomb))
        packed = {"content-encoding": "gzip"}
        intake.deliver(Influx(), Delivery("POST", "/write", {}, packed, bomb, NOW), told.append)
        intake.round(0)

    push_it()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(8):
            push_it()
        assert tracemalloc.get_traced_memory()[0] < 2 << 20
    finally:
        tracemalloc.stop()
        gc.enable()
    assert [type(one) for one in told] == [TooLarge] * 9


def test_what_sources_brought_is_bounded_in_bytes_and_one_batch_always_fits(journal, monkeypatch):
    intake, done = begun(journal), []
    large = batch([("host:s", CPU, NOW + n, 0.1) for n in range(1_000)])
    monkeypatch.setattr("watchkeeper.intake.SOURCES_WAITING", large.samples.nbytes)
    assert intake.offer(large, Millis(NOW), done.append), "it is in memory already"
    assert intake.sources_waiting > large.samples.nbytes
    assert not intake.offer(batch([("host:t", CPU, NOW, 0.1)]), Millis(NOW), done.append)
    assert intake.round(0)
    assert len(done) == 1
    assert intake.sources_waiting == 0
    assert intake.offer(batch([("host:t", CPU, NOW, 0.1)]), Millis(NOW), done.append)


def test_room_on_the_disk_is_noticed_though_nobody_comes(journal):
    intake = begun(journal)
    told = push(intake, line())
    journal.errors = [StoreFull("no space left")] * 2
    with pytest.raises(StoreFull):
        intake.round(0)
    assert isinstance(told[0], Overloaded)
    with pytest.raises(StoreFull):
        intake.round(0)
    assert intake.full
    assert not intake.round(0)
    assert not intake.full


def test_other_limits_hold_from_the_next_round_and_what_is_used_up_stays_used_up(journal):
    intake = begun(journal, tenant_series=2, waiting=10_000)
    push(intake, line("host:a") + line("host:b"))
    assert intake.round(0)
    intake.adopt_limits(Limits(tenant_series=3, waiting=5_000))
    told = push(intake, line("host:c") + line("host:d"))
    assert intake.round(0)
    assert (told[0].accepted, told[0].reasons) == (1, {"too_many_series": 1})
    with pytest.raises(Overloaded):
        intake.reserve(6_000)


def test_what_receivers_took_is_counted_for_each(journal):
    intake = begun(journal)
    push(intake, line() + "?\n")
    assert intake.round(0)
    push(intake, line(at=NOW + 1))
    journal.errors = [StoreFull("no space left")]
    with pytest.raises(StoreFull):
        intake.round(0)
    pushed = {outcome: count for (_, outcome), count in intake.traffic.pushed.items()}
    assert pushed == {"offered": 3, "accepted": 1, "rejected": 1, "shed": 1}
