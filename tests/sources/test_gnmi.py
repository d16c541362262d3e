"""gNMI against a small target made of its own stubs: streams, silence, cuts, refusals, Get."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from pygnmi.spec.v080 import gnmi_pb2 as g
from pygnmi.spec.v080 import gnmi_pb2_grpc as stubs
from ruamel.yaml import YAML
from tests.sources import agents

import watchkeeper
from watchkeeper import contracts
from watchkeeper.config import build
from watchkeeper.errors import ConfigError, InputError
from watchkeeper.model import Batch, Cursor, Millis
from watchkeeper.secret import Secret
from watchkeeper.sources._devices import Device
from watchkeeper.sources._gnmi_device import Said
from watchkeeper.sources._gnmi_paths import Path as Wanted
from watchkeeper.sources._gnmi_paths import steps
from watchkeeper.sources._gnmi_stream import library
from watchkeeper.sources.gnmi import Gnmi, Streams
from watchkeeper.testing.sources import collector_checks

ETH = "/interfaces/interface[name=Ethernet0]"
OPTICS = "/components/component[name=xcvr0]/transceiver"
LEAVES = {
    f"{ETH}/state/oper-status": "UP",
    f"{ETH}/state/admin-status": "UP",
    f"{ETH}/state/transceiver": "xcvr0",
    f"{ETH}/ethernet/state/port-speed": "openconfig-if-ethernet:SPEED_100GB",
    f"{ETH}/state/counters/in-octets": 18446744073709551615,
    f"{ETH}/state/counters/in-errors": 3,
    f"{ETH}/state/counters/interface-transitions": 4,
    f"{OPTICS}/physical-channels/channel[index=1]/state/input-power/instant": -2.45,
    f"{OPTICS}/physical-channels/channel[index=2]/state/input-power/instant": float("-inf"),
    f"{OPTICS}/state/pre-fec-ber/instant": 1.5e-8,
    f"{OPTICS}/state/supply-voltage/instant": 3.3,
}
IN, LANE = '"network.io.direction":"receive"', "hw.network.lane"
LINK, XCVR = "link:leaf1/Ethernet0", "hw.network.transceiver."
FLAPS = "/interfaces/interface/state/counters/interface-transitions"
TOLD = {
    (LINK, "hw.network.up", '{"unit":"1"}'): 1.0,
    (LINK, "hw.network.enabled", '{"unit":"1"}'): 1.0,
    (LINK, "hw.network.bandwidth.limit", '{"unit":"By/s"}'): 12.5e9,
    (LINK, "hw.network.io", f'{{{IN},"unit":"By"}}'): float(2**64),
    (LINK, "hw.errors", f'{{{IN},"unit":"{{error}}"}}'): 3.0,
    (LINK, FLAPS, "{}"): 4.0,
    (LINK, f"{XCVR}rx_power", f'{{"{LANE}":"1","unit":"dBm"}}'): -2.45,
    (LINK, f"{XCVR}rx_power", f'{{"{LANE}":"2","unit":"dBm"}}'): -40.0,
    (LINK, "hw.network.fec.pre_ber", '{"unit":"1"}'): 1.5e-8,
    (LINK, f"{XCVR}supply_voltage", '{"unit":"V"}'): 3.3,
}  # fmt: skip


def path(text: str) -> g.Path:
    return g.Path(elem=[g.PathElem(name=name, key=dict(keys)) for name, keys in steps(text)])


def value(one: object) -> g.TypedValue:
    if isinstance(one, str):
        return g.TypedValue(string_val=one)
    if isinstance(one, int):
        return g.TypedValue(uint_val=one)
    return g.TypedValue(double_val=one)


def notice(leaves: dict[str, object], at: int | None = None, delete: tuple[str, ...] = ()):
    return g.Notification(
        timestamp=time.time_ns() if at is None else at * 1_000_000,
        update=[g.Update(path=path(where), val=value(one)) for where, one in leaves.items()],
        delete=[path(where) for where in delete],
    )


def update(leaves: dict[str, object], **more: object) -> g.SubscribeResponse:
    return g.SubscribeResponse(update=notice(leaves, **more))


SYNC = g.SubscribeResponse(sync_response=True)


class Target(stubs.gNMIServicer):
    """Tells LEAVES, then what `says` yields, for each stream; the test adds to `more`."""

    encodings = (g.PROTO, g.JSON_IETF)

    def __init__(self) -> None:
        self.over = threading.Event()
        self.asked: list[g.SubscribeRequest] = []
        self.metadata: list[dict[str, str]] = []
        self.streams, self.gets = 0, 0
        self.more: list[g.SubscribeResponse] = []
        self.changed = threading.Condition()

    def says(self, answers: g.SubscribeResponse | None) -> None:
        with self.changed:
            self.more.append(answers)
            self.changed.notify_all()

    def Capabilities(self, request, context):
        self.metadata.append(dict(context.invocation_metadata()))
        return g.CapabilityResponse(supported_encodings=self.encodings, gNMI_version="0.8.0")

    def Get(self, request, context):
        self.gets += 1
        assert request.encoding == g.PROTO
        return g.GetResponse(notification=[notice(LEAVES)])

    def Subscribe(self, requests, context):
        self.asked.append(next(requests))
        self.streams += 1
        yield update(LEAVES)
        yield SYNC
        at = 0
        while not self.over.is_set() and context.is_active():
            with self.changed:
                if len(self.more) == at:
                    self.changed.wait(0.1)
                came, at = self.more[at:], len(self.more)
            for one in came:
                if one is None:
                    return
                yield one


@contextmanager
def serving(target: Target, credentials=None) -> Iterator[int]:
    pool = ThreadPoolExecutor(16)
    server = grpc.server(pool)
    stubs.add_gNMIServicer_to_server(target, server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield port
    finally:
        target.over.set()
        server.stop(0).wait()
        pool.shutdown()


def source(port: int, **fields: object) -> Gnmi:
    fields = {"tls": False, "interval": 0.5, "timeout": 0.4} | fields
    return Gnmi(targets=(f"leaf1=127.0.0.1:{port}",), **fields)


@contextmanager
def streams(port: int, **fields: object) -> Iterator[Streams]:
    made = Streams(source(port, **fields), library())
    try:
        yield made
    finally:
        made.cancel()


def ask(made: Streams, seconds: float = 10.0):
    return made.collect(made.targets()[0], time.monotonic() + seconds)


def told(said) -> list[tuple[str, str, str, int, float]]:
    keys = [tuple(key.values()) for key in said.keys.to_pylist()]
    columns = (said.samples[n].to_pylist() for n in range(3))
    return sorted((*keys[s], t, v) for s, t, v in zip(*columns, strict=True))


def values(said) -> dict[tuple[str, str, str], float]:
    return {row[:3]: row[4] for row in told(said)}


def test_a_stream_tells_links_their_counters_and_their_light():
    target = Target()
    with (
        serving(target) as port,
        streams(port, user="watcher", password=Secret("open-sesame")) as made,
    ):
        assert values(ask(made)) == TOLD
        assert target.metadata[0]["username"] == "watcher"
        assert target.metadata[0]["password"] == "open-sesame"
    asked = target.asked[0].subscribe
    assert asked.mode == g.SubscriptionList.STREAM
    modes = {"/".join(e.name for e in one.path.elem): one for one in asked.subscription}
    octets = modes["interfaces/interface/state/counters/in-octets"]
    assert (octets.mode, octets.sample_interval) == (g.SAMPLE, 500_000_000)
    status = modes["interfaces/interface/state/oper-status"]
    assert (status.mode, status.heartbeat_interval) == (g.ON_CHANGE, 300_000_000_000)


def test_what_it_tells_fits_the_link_pack():
    file = Path(watchkeeper.__file__).parent / "packs" / "link" / "contract.yaml"
    link = contracts.read(YAML(typ="safe").load(file), "link")
    target = Target()
    with serving(target) as port, streams(port) as made:
        said = ask(made)
    batch = Batch("gnmi", Cursor("1"), said.keys, said.samples, said.unread)
    checked = contracts.check([link], batch, Millis(time.time_ns() // 1_000_000))
    assert checked.rejected.num_rows == 0, checked.rejected.to_pylist()


def test_what_changes_is_told_when_it_did_and_holds_until_it_changes_again():
    target = Target()
    with serving(target) as port, streams(port) as made:
        first = ask(made)
        now = time.time_ns() // 1_000_000
        target.says(update({f"{ETH}/state/oper-status": "DOWN"}, at=now + 1))
        target.says(update({f"{ETH}/state/oper-status": "UP"}, at=now + 2))
        ups = until(made, lambda rows: len(rows) >= 2)
        assert [row[3:] for row in ups] == [(now + 1, 0.0), (now + 2, 1.0)]
        quiet = ask(made)
        ((_, _, _, at, up),) = [row for row in told(quiet) if row[1] == "hw.network.up"]
        assert up == 1.0
        assert at >= now
        assert quiet.keys.num_rows == first.keys.num_rows, "sampled series go on without a sample"
        assert not [row for row in told(quiet) if row[1] == "hw.network.io"]


def until(made: Streams, enough) -> list[tuple]:
    end = time.monotonic() + 20
    found: list[tuple] = []
    while not enough(found):
        assert time.monotonic() < end, found
        rows = [row for row in told(ask(made)) if row[1] == "hw.network.up"]
        found = rows if len(rows) > 1 else found
        time.sleep(0.01)
    return found


def test_a_leaf_that_is_deleted_or_not_heard_again_ends():
    device, at = Device("leaf1", "127.0.0.1", 1), Millis(1_767_323_045_000)
    said = Said(device, Gnmi(targets=("leaf1",)).wanted(), (75.0, 750.0))
    both = said.round([notice(LEAVES, at=at)], at, 0.0, "")
    gone = said.round([notice({}, at=at, delete=(OPTICS,))], at, 1.0, "")
    assert both.keys.num_rows - gone.keys.num_rows == 4
    only_changes = said.round([], at, 100.0, "")
    metrics = set(only_changes.keys["metric"].to_pylist())
    assert metrics == {"hw.network.up", "hw.network.enabled", "hw.network.bandwidth.limit"}
    assert said.round([], at, 800.0, "").keys.num_rows == 0


def test_of_a_port_that_is_switched_off_nothing_is_expected():
    device, at = Device("leaf1", "127.0.0.1", 1), Millis(1_767_323_045_000)
    said = Said(device, Gnmi(targets=("leaf1",)).wanted(), (75.0, 750.0))
    off = LEAVES | {f"{ETH}/state/admin-status": "DOWN", f"{ETH}/state/oper-status": "DOWN"}
    found = values(said.round([notice(off, at=at)], at, 0.0, ""))
    assert found["link:leaf1/Ethernet0", "hw.network.enabled", '{"unit":"1"}'] == 0.0
    assert not {key[1] for key in found} & {"hw.network.up", "hw.network.transceiver.rx_power"}


def test_a_change_of_long_ago_holds_now():
    device, at = Device("leaf1", "127.0.0.1", 1), Millis(1_767_323_045_000)
    said = Said(device, Gnmi(targets=("leaf1",)).wanted(), (75.0, 750.0))
    old = notice({f"{ETH}/state/oper-status": "UP"}, at=at - 10 * 86_400_000)
    assert [row[3] for row in told(said.round([old], at, 0.0, ""))] == [at]


@pytest.mark.parametrize(
    ("component", "where"),
    [
        ("xcvr0", "link:leaf1/Ethernet0"), ("Ethernet0", "link:leaf1/Ethernet0"),
        ("Ethernet0-optics", "link:leaf1/Ethernet0"),
        ("transceiver Ethernet0", "link:leaf1/Ethernet0"),
        ("Ethernet01", "device:leaf1"), ("Ethernet0/1", "device:leaf1"), ("PSU", "device:leaf1"),
    ],
)  # fmt: skip
def test_a_component_belongs_to_the_link_it_is_named_with(component, where):
    device, at = Device("leaf1", "127.0.0.1", 1), Millis(1_767_323_045_000)
    said = Said(device, Gnmi(targets=("leaf1",)).wanted(), (75.0, 750.0))
    leaf = f"/components/component[name={component}]/transceiver/state/supply-voltage/instant"
    leaf = leaf.replace("Ethernet0/1", "Ethernet0~1")
    known = {f"{ETH}/state/oper-status": "UP", f"{ETH}/state/transceiver": "xcvr0"}
    one = notice(known | {leaf: 3.3}, at=at)
    for sent in one.update:
        for element in sent.path.elem:
            if element.key.get("name", "") == "Ethernet0~1":
                element.key["name"] = "Ethernet0/1"
    (row,) = [row for row in told(said.round([one], at, 0.0, "")) if "voltage" in row[1]]
    assert row[0] == where
    assert ("hw.name" in row[2]) == where.startswith("device")


def test_subtrees_of_json_are_read_like_leaves():
    tree = {
        "openconfig-interfaces:interface": [
            {
                "name": "Ethernet0",
                "state": {"oper-status": "DOWN", "counters": {"in-octets": "12"}},
            },
            {"name": "Ethernet1", "state": {"oper-status": "UP", "counters": {"in-octets": "N/A"}}},
        ]
    }
    device, at = Device("leaf1", "127.0.0.1", 1), Millis(1_767_323_045_000)
    said = Said(device, Gnmi(targets=("leaf1",)).wanted(), (75.0, 750.0))
    sent = g.Update(
        path=path("/interfaces"), val=g.TypedValue(json_ietf_val=json.dumps(tree).encode())
    )
    found = said.round([g.Notification(timestamp=at * 10**6, update=[sent])], at, 0.0, "here")
    assert [(row[0], row[4]) for row in told(found)] == [
        (LINK, 12.0), (LINK, 0.0), ("link:leaf1/Ethernet1", 1.0),
    ]  # fmt: skip
    (unread,) = found.unread.to_pylist()
    assert (unread["offered"], unread["reason"], unread["origin"]) == (
        "N/A",
        "not_a_number",
        "here",
    )


def test_paths_of_the_operator_come_first():
    mine = Wanted(
        path="/system/cpus/cpu/state/total/instant", metric="system.cpu.utilization",
        attributes={"cpu": "{cpu.index}"}, unit="%",
    )  # fmt: skip
    target = Target()
    with serving(target) as port, streams(port, paths=(mine,)) as made:
        ask(made)
        target.says(update({"/system/cpus/cpu[index=0]/state/total/instant": 12}))
        end = time.monotonic() + 20
        key = "device:leaf1", "system.cpu.utilization", '{"cpu":"0","unit":"%"}'
        while (found := values(ask(made))).get(key) != 12.0:
            assert time.monotonic() < end, found


def test_a_device_without_streams_is_asked_with_get():
    class Old(Target):
        def Subscribe(self, requests, context):
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no")

    target = Old()
    with serving(target) as port, streams(port) as made:
        assert values(ask(made)) == TOLD
        assert values(ask(made)) == TOLD
        assert target.gets == 2
    with (
        serving(Old()) as port,
        streams(port, mode="stream") as made,
        pytest.raises(InputError, match="UNIMPLEMENTED"),
    ):
        ask(made)


def test_get_alone():
    target = Target()
    with serving(target) as port, streams(port, mode="get") as made:
        assert values(ask(made)) == TOLD
        assert (target.gets, target.streams) == (1, 0)


class Cut(Target):
    def Subscribe(self, requests, context):
        next(requests)
        self.streams += 1
        yield update(LEAVES)


class Broken(Target):
    def Subscribe(self, requests, context):
        next(requests)
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many streams")
        yield


class Silent(Target):
    def Subscribe(self, requests, context):
        next(requests)
        self.over.wait(30)
        yield SYNC


class Deaf(Target):
    def Capabilities(self, request, context):
        self.over.wait(30)
        return g.CapabilityResponse()


class Strange(Target):
    encodings = (g.ASCII,)


class Endless(Target):
    def Subscribe(self, requests, context):
        next(requests)
        while context.is_active() and not self.over.is_set():
            yield update({f"{ETH}/state/counters/in-octets": 1, f"{ETH}/state/name": "x" * 10_000})


class Large(Target):
    def Subscribe(self, requests, context):
        next(requests)
        yield update({f"{ETH}/state/name": "x" * 300_000})


class Garbled(Target):
    def Subscribe(self, requests, context):
        next(requests)
        sent = g.Update(path=path("/interfaces"), val=g.TypedValue(json_val=b"{"))
        yield g.SubscribeResponse(update=g.Notification(update=[sent]))
        yield SYNC
        self.over.wait(30)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Cut, "the device ended the stream"), (Broken, "too many streams"),
        (Silent, "no sync_response"), (Deaf, "DEADLINE_EXCEEDED"),
        (Strange, "neither proto, JSON_IETF nor JSON"), (Endless, "more than 200000 bytes"),
        (Large, "RESOURCE_EXHAUSTED"), (Garbled, "not JSON"),
    ],
)  # fmt: skip
def test_a_device_that_misbehaves_fails_within_its_deadline(kind, why):
    with (
        serving(kind()) as port,
        streams(port, body_bytes=200_000) as made,
        pytest.raises(InputError, match=why),
    ):
        ask(made, 3.0)


def test_a_server_that_speaks_something_else_fails_within_its_deadline():
    for first in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"):
        with (
            agents.fake_tcp(first) as port,
            streams(port) as made,
            pytest.raises(InputError, match=r"DEADLINE_EXCEEDED|UNAVAILABLE"),
        ):
            ask(made, 1.0)
    with streams(agents.free_port()) as made, pytest.raises(InputError, match="UNAVAILABLE"):
        ask(made, 5.0)


def test_a_stream_that_ends_is_begun_again_in_the_next_round():
    target = Target()
    with serving(target) as port, streams(port) as made:
        ask(made)
        target.says(None)
        end = time.monotonic() + 20
        while target.streams < 2:
            assert time.monotonic() < end
            ask(made)
            time.sleep(0.05)
        target.more.clear()


def test_a_stream_in_which_nothing_comes_any_more_fails():
    target = Target()
    with serving(target) as port, streams(port, interval=0.1, timeout=0.1) as made:
        ask(made)
        with pytest.raises(InputError, match="nothing was told"):
            for_long(made)


def for_long(made: Streams) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        ask(made)
        time.sleep(0.05)


def test_tls_is_checked(tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("leaf1.example")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    pair = (certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())
    known = {"tls": True, "ca_file": str(tmp_path / "ca.pem")}
    with serving(Target(), grpc.ssl_server_credentials([pair])) as port:
        with streams(port, tls_name="leaf1.example", **known) as made:
            assert values(ask(made)) == TOLD
        for fields in (known, {"tls": True, "tls_name": "leaf1.example"}, {"tls": False}):
            with streams(port, **fields) as made, pytest.raises(InputError, match="leaf1: "):
                ask(made, 3.0)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"targets": ()}, "no targets"),
        ({"paths": (Wanted(path="interfaces", metric="m"),)}, "is no path"),
        ({"paths": (Wanted(path="", metric="m"),)}, "an empty path"),
        ({"paths": (Wanted(path="/a", metric="m"), Wanted(path="/a", metric="n"))}, "there twice"),
        ({"openconfig": False}, "nothing to ask for"),
        ({"password": Secret("secret-word")}, "without a user"),
        ({"heartbeat": -1.0}, "heartbeat is below 0"),
        ({"interval": 0.0}, "interval is not above 0"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(fields, why):
    with pytest.raises(ConfigError, match=why) as caught:
        Gnmi(**{"targets": ("leaf1",)} | fields)
    assert "secret-word" not in str(caught.value) + repr(caught.value)


def test_files_that_cannot_be_read_are_named():
    with pytest.raises(ConfigError, match="/nowhere"):
        Gnmi(targets=("leaf1",), ca_file="/nowhere").open(None)


def test_paths_are_read_from_a_configuration():
    spec = {"type": "gnmi", "targets": ["leaf1"], "paths": [{"path": "/a/b[c=d]", "metric": "m"}]}
    assert next(iter(build("sources", spec).wanted())) == "/a/b"
    with pytest.raises(ConfigError, match="metrik"):
        build("sources", {**spec, "paths": [{"path": "/a", "metric": "m", "metrik": "m"}]})


@pytest.mark.parametrize("check", list(collector_checks()), ids=lambda check: check.__name__)
@pytest.mark.parametrize("mode", ["stream", "get"])
def test_it_is_a_collector(check, mode):
    with serving(Target()) as port:
        check(source(port, mode=mode, interval=1.0, timeout=0.8))


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(("interface", "name", "state", "oper-status")), below)
    ),
    max_leaves=8,
)


@given(ANYTHING, st.sampled_from(["/interfaces", f"{ETH}/state/oper-status", "/a"]))
def test_no_json_breaks_anything(document, where):
    at = Millis(1_767_323_045_000)
    said = Said(Device("leaf1", "h", 1), Gnmi(targets=("leaf1",)).wanted(), (75.0, 750.0))
    sent = g.Update(path=path(where), val=g.TypedValue(json_val=json.dumps(document).encode()))
    for one in (
        g.Notification(timestamp=at * 10**6, update=[sent]),
        g.Notification(delete=[path(where)]),
    ):
        found = said.round([one], at, 0.0, "")
        assert found.samples.num_rows <= found.keys.num_rows * 100
