"""Network devices over SNMP: a real agent, and made-up ones that misbehave."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyasn1.codec.ber import decoder, encoder
from pysnmp.proto import api, rfc1902, rfc1905
from tests.sources.agents import fake_udp, snmpd

from watchkeeper.errors import ConfigError, InputError
from watchkeeper.model import Reason
from watchkeeper.secret import Secret
from watchkeeper.sources import Target
from watchkeeper.sources._devices import Device, Said, read
from watchkeeper.sources._snmp_interfaces import EXTENDED, FIXED, NARROW, WHOLE
from watchkeeper.sources._snmp_interfaces import tell as tell_interfaces
from watchkeeper.sources._snmp_sensors import PARTS, SENSORS
from watchkeeper.sources._snmp_sensors import tell as tell_sensors
from watchkeeper.sources._snmp_walk import Bound, walk
from watchkeeper.sources.snmp import Agents, Snmp
from watchkeeper.testing.sources import collector_checks

IF, IF_X = ".1.3.6.1.2.1.2.2.1", ".1.3.6.1.2.1.31.1.1.1"
SENSOR, PART = ".1.3.6.1.2.1.99.1.1.1", ".1.3.6.1.2.1.47.1.1.1.1"
MAPPED = ".1.3.6.1.2.1.47.1.3.2.1.2"
V3 = {
    "snmp_version": "3",
    "user": "watcher",
    "auth_key": Secret("authauthauth"),
    "priv_key": Secret("privprivpriv"),
}
LEAF = Device("leaf1", "127.0.0.1", 161)


def sensor(number: int, name: str, kind: int, scale: int, precision: int, raw: int, status=1):
    columns = zip((1, 2, 3, 4, 5), (kind, scale, precision, raw, status), strict=True)
    return [
        f'override {PART}.7.{number} octet_str "{name}"',
        *(f"override {SENSOR}.{column}.{number} integer {value}" for column, value in columns),
    ]


LINES = [
    "rocommunity secret-word 127.0.0.1",
    "rocommunity public 127.0.0.1 .1.3.6.1.2.1.1",
    'createUser watcher SHA "authauthauth" AES "privprivpriv"',
    "rouser watcher priv",
    f'override {IF_X}.1.9001 octet_str "Ethernet0"',
    f'override {IF_X}.18.9001 octet_str "to spine1"',
    f"override {IF_X}.6.9001 uinteger 4000000000",
    f"override {IF_X}.15.9001 uinteger 100000",
    f"override {IF}.14.9001 counter 12345",
    f"override {IF}.7.9001 integer 1",
    f"override {IF}.8.9001 integer 2",
    f'override {IF}.2.9002 octet_str "old0"',
    f"override {IF}.10.9002 counter 4294967295",
    f"override {IF}.5.9002 uinteger 1000000000",
    f"override {IF}.7.9002 integer 2",
    f"override {IF}.8.9002 integer 2",
    f'override {IF}.20.9002 octet_str "many"',
    # Light: as dBm (Cisco's type), as watts (what SONiC's agent says), and none at all.
    *sensor(1, "DOM RX Power Sensor for Ethernet0/1", 14, 9, 3, -2450),
    *sensor(2, "DOM RX Power Sensor for Ethernet0/2", 6, 8, 4, 5012),
    *sensor(3, "DOM TX Power Sensor for Ethernet0/1", 6, 7, 0, 0),
    *sensor(4, "DOM TX Bias Sensor for Ethernet0/1", 5, 8, 3, 6500),
    *sensor(5, "DOM Temperature Sensor for Ethernet0", 8, 9, 2, 3150),
    *sensor(6, "DOM Voltage Sensor for Ethernet0", 4, 9, 3, 3300),
    *sensor(7, "DOM RX Power Sensor for old0/1", 14, 9, 3, -40000),
    *sensor(8, "DOM Temperature Sensor for old0", 8, 9, 0, 30),
    # Sensors of the device.
    *sensor(20, "PSU 1 power", 6, 9, 0, 120),
    *sensor(21, "Inlet", 8, 8, 0, 23500),
    *sensor(22, "Fan 1", 10, 9, 0, 9000),
    *sensor(23, "Fan 1", 10, 9, 0, 8000),
    *sensor(24, "Door", 12, 9, 0, 1),
    *sensor(25, "Unplugged", 8, 9, 0, 0, status=2),
    *sensor(26, "Broken", 8, 9, 0, 0, status=3),
    *sensor(27, "Too hot to tell", 8, 9, 0, 1000000000),
    # A part inside a part that is mapped to an interface; its name says nothing.
    *sensor(30, "T1", 8, 9, 0, 40),
    f"override {PART}.4.30 integer 31",
    f"override {PART}.4.31 integer 0",
    f"override {MAPPED}.31.0 object_id {IF}.1.9001",
    f"override {MAPPED}.32.0 object_id .1.3.6.1.2.1.17.1.4.1.1.5",
]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with snmpd(tmp_path_factory.mktemp("snmpd"), LINES) as found:
        yield found


def ask(port: int, seconds: float = 20.0, **fields: object):
    """Ask the agent once; return values by (entity, metric, attributes), and what is unread."""
    if "snmp_version" not in fields:
        fields = {"community": Secret("secret-word")} | fields
    asker = Agents(Snmp(targets=(f"leaf1=127.0.0.1:{port}",), **fields))
    said = asker.collect(asker.targets()[0], time.monotonic() + seconds)
    keys = [tuple(key.values()) for key in said.keys.to_pylist()]
    rows, values = said.samples["series"].to_pylist(), said.samples["value"].to_pylist()
    return {keys[row]: value for row, value in zip(rows, values, strict=True)}, {
        (row["entity"], row["metric"], row["offered"]): row["reason"]
        for row in said.unread.to_pylist()
    }


@pytest.fixture(scope="module")
def told(port: int):
    return ask(port)


def attributes(unit: str, **more: str) -> str:
    from watchkeeper.model import attributes_text

    return attributes_text({"unit": unit, **{k.replace("_", "."): v for k, v in more.items()}})


RECEIVE = {"network_io_direction": "receive"}


@pytest.mark.parametrize(
    ("entity", "metric", "about", "value"),
    [
        ("link:leaf1/Ethernet0", "hw.network.up", attributes("1"), 0.0),
        ("link:leaf1/Ethernet0", "hw.network.enabled", attributes("1"), 1.0),
        ("link:leaf1/Ethernet0", "hw.network.bandwidth.limit", attributes("By/s"), 12.5e9),
        ("link:leaf1/Ethernet0", "hw.errors", attributes("{error}", **RECEIVE), 12345.0),
        ("link:leaf1/Ethernet0", "hw.network.io", attributes("By", **RECEIVE), 4e9),
        ("link:leaf1/Ethernet0", "hw.network.info",
         attributes("1", network_interface_alias="to spine1"), 1.0),
        ("link:leaf1/old0", "hw.network.io", attributes("By", **RECEIVE), 4294967295.0),
        ("link:leaf1/old0", "hw.network.enabled", attributes("1"), 0.0),
        ("link:leaf1/old0", "hw.network.bandwidth.limit", attributes("By/s"), 125e6),
        ("device:leaf1", "hw.power", attributes("W", hw_id="PSU 1 power"), 120.0),
        ("device:leaf1", "hw.temperature", attributes("Cel", hw_id="Inlet"), 23.5),
        ("device:leaf1", "hw.fan.speed", attributes("rpm", hw_id="Fan 1#22"), 9000.0),
        ("device:leaf1", "hw.fan.speed", attributes("rpm", hw_id="Fan 1#23"), 8000.0),
        ("link:leaf1/Ethernet0", "hw.network.transceiver.temperature",
         attributes("Cel", hw_id="T1"), 40.0),
    ],
)  # fmt: skip
def test_a_real_agent_tells_of_links_and_of_itself(told, entity, metric, about, value):
    assert told[0][entity, metric, about] == pytest.approx(value)


@pytest.mark.parametrize(
    ("metric", "unit", "name", "lane", "value"),
    [
        ("rx_power", "dBm", "DOM RX Power Sensor for Ethernet0/1", "1", -2.45),
        ("rx_power", "dBm", "DOM RX Power Sensor for Ethernet0/2", "2", -3.0),
        ("tx_power", "dBm", "DOM TX Power Sensor for Ethernet0/1", "1", -40.0),
        ("bias_current", "mA", "DOM TX Bias Sensor for Ethernet0/1", "1", 6.5),
        ("temperature", "Cel", "DOM Temperature Sensor for Ethernet0", "", 31.5),
        ("supply_voltage", "V", "DOM Voltage Sensor for Ethernet0", "", 3.3),
    ],
)
def test_sensors_of_a_module_are_told_of_its_link_in_one_unit(
    told, metric, unit, name, lane, value
):
    about = attributes(unit, hw_id=name, **({"hw_network_lane": lane} if lane else {}))
    key = ("link:leaf1/Ethernet0", f"hw.network.transceiver.{metric}", about)
    assert told[0][key] == pytest.approx(value, abs=1e-3)


def test_a_port_that_was_switched_off_is_neither_down_nor_dark(told):
    metrics = {metric for entity, metric, _ in told[0] if entity == "link:leaf1/old0"}
    assert {"hw.network.enabled", "hw.network.transceiver.temperature"} <= metrics
    assert "hw.network.up" not in metrics
    assert "hw.network.transceiver.rx_power" not in metrics


def test_what_is_no_value_has_its_reason_and_costs_no_neighbour(told):
    assert told[1] == {
        ("link:leaf1/old0", "hw.errors", "many"): Reason.NOT_A_NUMBER,
        ("device:leaf1", "hw.sensor", "1"): Reason.UNSUPPORTED,
        ("device:leaf1", "hw.temperature", "0"): Reason.NOT_A_NUMBER,
        ("device:leaf1", "hw.temperature", "1000000000"): Reason.ABOVE_BOUND,
    }


def test_version_3_signed_and_encrypted_tells_the_same(told, port):
    values, unread = ask(port, **V3)
    assert values.keys() == told[0].keys()
    assert unread == told[1]


@pytest.mark.parametrize("bulk", [1, 3])
def test_how_many_rows_are_asked_for_at_once_does_not_show(told, port, bulk):
    assert ask(port, bulk=bulk)[0].keys() == told[0].keys()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**V3, "auth_key": Secret("wrong-key")}, "Wrong SNMP PDU digest"),
        ({**V3, "user": "nobody"}, "Unknown USM user"),
        ({"community": Secret("wrong-word")}, "no answer in time"),
        ({"community": Secret("secret-word"), "rows_max": 1}, "more than 1 rows"),
    ],
)
def test_an_agent_that_refuses_is_an_error_that_keeps_secrets(port, fields, message):
    with pytest.raises(InputError, match=message) as caught:
        ask(port, 2.0, **fields)
    assert "wrong-key" not in str(caught.value)
    assert "wrong-word" not in str(caught.value)


def test_an_agent_that_shows_only_itself_still_tells_how_long_it_is_up(port):
    values, unread = ask(port, community=Secret("public"))
    assert [(entity, metric) for entity, metric, _ in values] == [("device:leaf1", "system.uptime")]
    assert unread == {}


def test_secrets_do_not_show_when_the_source_is_printed():
    shown = repr(Snmp(targets=("a",), **V3)) + repr(
        Snmp(targets=("a",), community=Secret("secret-word"))
    )
    assert "authauth" not in shown
    assert "privpriv" not in shown
    assert "secret-word" not in shown


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"targets": ()}, "no targets"),
        ({"targets": ("a", "a:1161")}, "two targets are called 'a'"),
        ({"targets": ("a:0",)}, "names no target"),
        ({"targets": ("a b",)}, "names no target"),
        ({"user": "x"}, "need version 3"),
        ({"snmp_version": "3"}, "needs a user"),
        (
            {"snmp_version": "3", "user": "x", "priv_key": Secret("privprivpriv")},
            "needs a signature",
        ),
        ({"snmp_version": "3", "user": "x", "auth_key": Secret("short")}, "less than 8 characters"),
        ({"bulk": 0}, "bulk is not above 0"),
        ({"interval": 0.0}, "interval is not above 0"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_before_anything_is_asked(fields, message):
    with pytest.raises(ConfigError, match=message):
        Snmp(**{"targets": ("leaf1",), **fields})


@pytest.mark.parametrize(
    ("text", "name", "host", "port"),
    [
        ("10.0.0.1", "10.0.0.1", "10.0.0.1", 161),
        ("10.0.0.1:1161", "10.0.0.1", "10.0.0.1", 1161),
        ("leaf1=sw.example:1161", "leaf1", "sw.example", 1161),
        ("leaf1=[2001:db8::1]:1161", "leaf1", "2001:db8::1", 1161),
        ("leaf1=2001:db8::1", "leaf1", "2001:db8::1", 161),
        ("[::1]", "::1", "::1", 161),
    ],
)
def test_a_device_is_written_with_or_without_name_and_port(text, name, host, port):
    assert read((text,), 161, "snmp") == {name: Device(name, host, port)}
    assert Agents(Snmp(targets=(text,))).targets() == [Target(name, f"device:{name}", host)]


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysnmp.hlapi.v3arch.asyncio", None)
    with pytest.raises(ConfigError, match=r"pip install watchkeeper\[snmp\]"):
        Snmp(targets=("leaf1",)).open(None)


@pytest.mark.parametrize("check", list(collector_checks()), ids=lambda check: check.__name__)
def test_it_behaves_as_a_collector(check, port):
    device = f"leaf1=127.0.0.1:{port}"
    check(Snmp(targets=(device,), community=Secret("secret-word"), interval=2.0))


def test_questions_in_many_threads_do_not_meet(told, port):
    def asked(number):
        return ask(port) if number % 2 else ask(port, **V3)

    with ThreadPoolExecutor(4) as threads:
        assert all(one[0].keys() == told[0].keys() for one in threads.map(asked, range(6)))


# Agents that misbehave


def agent(say: Callable[[list[tuple[int, ...]], int], list], status: int = 0):
    """Answer GETBULK by `say(names, repetitions) -> [(name, value)]`."""
    v2c = api.PROTOCOL_MODULES[api.SNMP_VERSION_2C]

    def answer(question: bytes) -> bytes:
        message, _ = decoder.decode(question, asn1Spec=v2c.Message())
        pdu = v2c.apiMessage.get_pdu(message)
        names = [tuple(name) for name, _ in v2c.apiBulkPDU.get_varbinds(pdu)]
        reply = v2c.apiMessage.get_response(message)
        said = v2c.apiMessage.get_pdu(reply)
        rounds = int(v2c.apiBulkPDU.get_max_repetitions(pdu))
        v2c.apiPDU.set_varbinds(said, say(names, rounds))
        v2c.apiPDU.set_error_status(said, status if status != 1 or rounds > 1 else 0)
        return encoder.encode(reply)

    return answer


def asked(answer, seconds: float = 5.0, **fields: object):
    with fake_udp(answer) as port:
        return ask(port, seconds, **fields)


def test_an_agent_that_goes_in_circles_is_found_out():
    circle = [(1, 3, 6, 1, 2, 1, 1, 3, 0), (1, 3, 6, 1, 2, 1, 1, 3, 0)]
    with pytest.raises(InputError, match="goes in circles"):
        asked(agent(lambda names, _: [(circle[0], rfc1902.TimeTicks(1))] * 2))


def test_an_agent_without_an_end_is_stopped_at_the_limit_of_rows():
    def more(names, rounds):
        return [((*names[0], 1), rfc1902.Integer32(1))]

    with pytest.raises(InputError, match="more than 20 rows"):
        asked(agent(more), rows_max=20)


def test_an_agent_without_an_end_is_stopped_at_the_deadline():
    def slowly(names, rounds):
        time.sleep(0.1)
        return [((*names[0][:8], (names[0] + (0,))[8] + 1), rfc1902.Integer32(1))]

    with pytest.raises(InputError, match="no answer in time"):
        asked(agent(slowly), 1.0, rows_max=1_000_000)


def test_an_agent_that_answers_nothing_is_an_error():
    with pytest.raises(InputError, match="Empty SNMP response"):
        asked(agent(lambda names, _: []))

    async def silence(after, rounds):
        return []

    with pytest.raises(InputError, match="answers without a value"):
        asyncio.run(walk(silence, [(1,)], 10, 10))


def test_an_agent_that_shows_nothing_is_an_error():
    end = rfc1905.EndOfMibView()
    with pytest.raises(InputError, match="shows nothing"):
        asked(agent(lambda names, _: [(name, end) for name in names]))


def test_an_agent_with_a_small_message_is_asked_for_less():
    seen = []

    def little(names, rounds):
        seen.append(rounds)
        return [(name, rfc1905.EndOfMibView()) for name in names]

    with pytest.raises(InputError, match="shows nothing"):
        asked(agent(little, status=1), bulk=4)
    assert seen[:3] == [4, 2, 1]


def test_an_agent_that_fails_says_how():
    with pytest.raises(InputError, match="genErr"):
        asked(agent(lambda names, _: [(name, rfc1902.Integer32(0)) for name in names], status=5))


def test_bytes_that_are_no_snmp_are_no_answer():
    with pytest.raises(InputError, match="no answer in time"):
        asked(lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n", 1.0)


@pytest.mark.parametrize("seed", range(12))
def test_datagrams_that_were_damaged_on_the_way_are_no_answer(seed, caplog):
    chance = random.Random(seed)
    right = agent(lambda names, _: [((*name, 1), rfc1902.Integer32(1)) for name in names])

    def damaged(question: bytes) -> bytes:
        said = bytearray(right(question))
        for _ in range(chance.randint(1, 3)):
            at, size = chance.randrange(len(said)), chance.randint(0, 3)
            said[at : at + chance.randint(0, 3)] = chance.randbytes(size)
        return bytes(said)

    with pytest.raises(InputError, match="leaf1: "):
        asked(damaged, 0.3)
    assert caplog.records == []


def test_a_host_that_does_not_exist_is_an_error():
    asker = Agents(Snmp(targets=("leaf1=no-such-host.invalid",)))
    with pytest.raises(InputError, match=r"leaf1: .*address"):
        asker.collect(asker.targets()[0], time.monotonic() + 5)


# The walk and the tables, as functions

MIB = st.dictionaries(
    st.tuples(st.integers(1, 4), st.integers(0, 9), st.integers(0, 9)), st.integers(), max_size=60
)


@settings(deadline=None)
@given(MIB, st.integers(1, 7), st.integers(1, 50))
def test_a_walk_finds_every_row_however_much_an_agent_puts_into_a_message(mib, bulk, room):
    names = sorted(mib)

    async def answer(after, rounds):
        said, at = [], list(after)
        for _ in range(rounds):
            for n, name in enumerate(at):
                following = next((one for one in names if one > name), None)
                said.append(Bound(following or name, mib.get(following)))
                at[n] = following or name
        return said[: max(1, room)]

    columns = [(1,), (2,), (4,)]
    found = asyncio.run(walk(answer, columns, bulk, 1000))
    assert found == {
        column: {name[1:]: mib[name] for name in names if name[:1] == column} for column in columns
    }


VALUES = st.one_of(
    st.integers(-(2**31), 2**64), st.binary(max_size=12), st.tuples(st.integers(0, 99))
)
INDEXES = st.tuples(st.integers(0, 4))
TABLES = st.fixed_dictionaries(
    {
        column: st.dictionaries(INDEXES, VALUES, max_size=5)
        for column in (*WHOLE, *FIXED, *EXTENDED, *NARROW, *SENSORS, *PARTS)
    }
)


@settings(deadline=None, max_examples=60)
@given(TABLES)
def test_whatever_type_an_agent_gives_a_value_it_is_told_or_unread(tables):
    said = Said(0)
    tell_interfaces(said, LEAF, tables)
    tell_sensors(said, LEAF, tables)
    assert all(isinstance(one.value, float) for one in said.readings)
    assert all(one.entity.startswith(("link:leaf1/", "device:leaf1")) for one in said.unread)


@pytest.mark.parametrize(("scale", "precision"), [(9, 400), (9, 2**31 - 1), (2**31 - 1, 0), (0, 0)])
def test_a_scale_or_precision_that_does_not_exist_costs_its_sensor_only(scale, precision):
    said = Said(0)
    tables = {column: {} for column in (*SENSORS, *PARTS, *WHOLE, *FIXED, *EXTENDED, *NARROW)}
    for column, odd, good in zip(
        SENSORS, (8, scale, precision, 300, 1), (8, 9, 1, 300, 1), strict=True
    ):
        tables[column] = {(1,): odd, (2,): good}
    tell_sensors(said, LEAF, tables)
    assert [one.value for one in said.readings] == [30.0]
    assert [one.reason for one in said.unread] == [Reason.NOT_A_NUMBER]
