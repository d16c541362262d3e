"""SONiC's databases in a real Redis: what is told, what is unread, and what is never sent."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Iterator

import pytest
import redis as client
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sources import agents

from watchkeeper.errors import ConfigError, InputError
from watchkeeper.model import Reason, attributes_text
from watchkeeper.secret import Secret
from watchkeeper.sources._devices import Device, Said
from watchkeeper.sources._sonic_tables import Port, tell
from watchkeeper.sources.sonic import Sonic, Switches
from watchkeeper.testing.sources import collector_checks, keys_of

SAI = "SAI_PORT_STAT_"
TABLES = {
    0: {
        "PORT_TABLE:Ethernet0": {
            "admin_status": "up", "oper_status": "up", "speed": "400000", "flap_count": "7",
            "lanes": "0,1,2,3,4,5,6,7", "alias": "etp1",
        },
        "PORT_TABLE:Ethernet8": {
            "admin_status": "down", "oper_status": "down", "speed": "N/A", "flap_count": "N/A",
        },
        "PORT_TABLE:Ethernet16": {
            "admin_status": "up", "oper_status": "sideways", "speed": "fast", "flap_count": "-1",
        },
        "PORT_TABLE:PortInitDone": {"lanes": "0"},
    },
    2: {
        "COUNTERS_PORT_NAME_MAP": {
            "Ethernet0": "oid:0x1", "Ethernet8": "oid:0x2", "Ethernet16": "oid:0x3",
        },
        "COUNTERS:oid:0x1": {
            f"{SAI}IF_IN_OCTETS": "18446744073709551615",
            f"{SAI}IF_IN_ERRORS": "3",
            f"{SAI}IF_IN_FEC_NOT_CORRECTABLE_FRAMES": "2",
            f"{SAI}IF_IN_FEC_CODEWORD_ERRORS_S15": "1",
            f"{SAI}SOMETHING_NEW": "5",
        },
        "COUNTERS:oid:0x3": {f"{SAI}IF_IN_ERRORS": "N/A", f"{SAI}IF_OUT_ERRORS": ""},
        "RATES:oid:0x1": {"FEC_PRE_BER": "1.5e-08", "FEC_POST_BER": "0.0"},
        "RATES:oid:0x2": {"FEC_PRE_BER": "N/A"},
    },
    6: {
        "TRANSCEIVER_DOM_FLAG|Ethernet8": {"rx1powerLAlarm": "True", "tempHAlarm": "False"},
        "TRANSCEIVER_INFO|Ethernet0": {
            "manufacturer": "Acme  ", "model": "QDD-400G", "serial": "A1", "type": "N/A",
        },
        "TRANSCEIVER_DOM_SENSOR|Ethernet0": {
            "temperature": "31.5", "voltage": "3.3", "laser_temperature": "N/A",
            "rx1power": "-2.45", "rx2power": "-inf", "rx3power": "N/A", "rx4power": "0.5mW",
            "rx5power": "N/A", "tx1power": "1.2", "tx1bias": "6500uA", "rx1los": "False",
            "last_update_time": "Wed Oct 15 12:00:00 2025",
        },
        # Years ago keys carried their units; some still do.
        "TRANSCEIVER_DOM_SENSOR|Ethernet8": {
            "temperature": "88.7F", "voltage": "3.3Volts", "tx1bias": "6.5mA",
        },
        "TRANSCEIVER_DOM_SENSOR|Ethernet16": {
            "temperature": "3.3Volts", "voltage": "N/A", "rx1power": "", "tx1power": "high",
        },
        # Nonsense, as the field has it: nobody may believe it.
        "TRANSCEIVER_DOM_THRESHOLD|Ethernet0": {
            "rxpowerlowalarm": "-inf", "rxpowerhighalarm": "0.0", "temphighalarm": "0.0",
        },
        "TRANSCEIVER_DOM_FLAG|Ethernet0": {
            "tempHAlarm": "False", "vccLWarn": "True", "rx1powerLAlarm": "False",
            "rx2powerLAlarm": "True",
            "tx1biasHWarn": "N/A", "lasertempHAlarm": "maybe", "last_update_time": "now",
        },
    },
}  # fmt: skip
LEAF = Device("leaf1", "127.0.0.1", 6379)


def load(port: int, password: str | None = None) -> None:
    for number, tables in TABLES.items():
        with client.Redis(port=port, db=number, password=password) as database:
            for key, fields in tables.items():
                database.hset(key, mapping=fields)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    return tmp_path_factory.mktemp("redis")


@pytest.fixture(scope="module")
def port(folder) -> Iterator[int]:
    with agents.redis(folder, "--requirepass", "open-sesame") as found:
        load(found, "open-sesame")
        yield found


def ask(where: object, seconds: float = 20.0, **fields: object):
    """Ask once; return values by (link, metric, attributes), and what is unread."""
    device = where if isinstance(where, str) else f"leaf1=127.0.0.1:{where}"
    asker = Switches(Sonic(targets=(device,), **{"password": Secret("open-sesame")} | fields))
    said = asker.collect(asker.targets()[0], time.monotonic() + seconds)
    keys = [tuple(key.values()) for key in said.keys.to_pylist()]
    rows, values = said.samples["series"].to_pylist(), said.samples["value"].to_pylist()
    return {keys[row]: value for row, value in zip(rows, values, strict=True)}, {
        (row["entity"], row["metric"], row["offered"]): (row["reason"], row["detail"])
        for row in said.unread.to_pylist()
    }


@pytest.fixture(scope="module")
def told(port: int):
    return ask(port)


def key(metric: str, unit: str, number: int = 0, **about: str):
    named = {name.replace("__", "."): value for name, value in about.items()}
    return f"link:leaf1/Ethernet{number}", metric, attributes_text({"unit": unit, **named})


def optic(metric: str, unit: str, lane: str = "", number: int = 0):
    about = {"hw__network__lane": lane} if lane else {}
    return key(f"hw.network.transceiver.{metric}", unit, number, **about)


@pytest.mark.parametrize(
    ("series", "value"),
    [
        (key("hw.network.up", "1"), 1.0),
        (key("hw.network.enabled", "1"), 1.0),
        (key("hw.network.enabled", "1", 8), 0.0),
        (key("hw.network.flaps", "{flap}"), 7.0),
        (key("hw.network.bandwidth.limit", "By/s"), 50e9),
        (key("hw.network.io", "By", network__io__direction="receive"), 2.0**64),
        (key("hw.errors", "{error}", network__io__direction="receive"), 3.0),
        (key("hw.network.fec.uncorrectable", "{codeword}"), 2.0),
        (key("hw.network.fec.codewords", "{codeword}", hw__network__fec__symbol_errors="15"), 1.0),
        (key("hw.network.fec.pre_ber", "1"), 1.5e-8),
        (key("hw.network.fec.post_ber", "1"), 0.0),
        (
            key("hw.network.transceiver.info", "1", hw__vendor="Acme", hw__model="QDD-400G",
                hw__serial_number="A1"),
            1.0,
        ),
        (optic("temperature", "Cel"), 31.5),
        (optic("supply_voltage", "V"), 3.3),
        (optic("rx_power", "dBm", "1"), -2.45),
        (optic("rx_power", "dBm", "2"), -40.0),
        (optic("rx_power", "dBm", "4"), -3.0103),
        (optic("tx_power", "dBm", "1"), 1.2),
        (optic("bias_current", "mA", "1"), 6.5),
        (optic("temperature", "Cel", number=8), 31.5),
        (optic("supply_voltage", "V", number=8), 3.3),
    ],
)  # fmt: skip
def test_every_table_is_told_of_the_link_in_one_unit(told, series, value):
    assert told[0][series] == pytest.approx(value)


@pytest.mark.parametrize(
    ("quantity", "limit", "value"),
    [
        ("temperature", "high.critical", 0.0),
        ("supply_voltage", "low.degraded", 1.0),
        ("rx_power", "low.critical", 1.0),  # in one of two lanes
    ],
)
def test_the_flags_of_a_module_are_told_with_their_limit(told, quantity, limit, value):
    about = {"hw.limit_type": limit, "hw.network.transceiver.quantity": quantity, "unit": "1"}
    metric = "hw.network.transceiver.beyond_limit"
    assert told[0]["link:leaf1/Ethernet0", metric, attributes_text(about)] == value


def test_what_is_no_value_has_its_reason_and_costs_no_neighbour(told):
    zero, sixteen = "link:leaf1/Ethernet0", "link:leaf1/Ethernet16"
    of = "hw.network.transceiver."
    reasons = {series: reason for series, (reason, _) in told[1].items()}
    assert reasons == {
        (zero, f"{of}rx_power", "N/A"): Reason.NOT_A_NUMBER,
        (zero, f"{of}beyond_limit", "maybe"): Reason.NOT_A_NUMBER,
        (sixteen, "hw.network.up", "sideways"): Reason.NOT_A_NUMBER,
        (sixteen, "hw.network.bandwidth.limit", "fast"): Reason.NOT_A_NUMBER,
        (sixteen, "hw.network.flaps", "-1"): Reason.NOT_A_NUMBER,
        (sixteen, "hw.errors", "N/A"): Reason.NOT_A_NUMBER,
        (sixteen, "hw.errors", ""): Reason.NOT_A_NUMBER,
        (sixteen, f"{of}temperature", "3.3Volts"): Reason.WRONG_UNIT,
        (sixteen, f"{of}supply_voltage", "N/A"): Reason.NOT_A_NUMBER,
        (sixteen, f"{of}rx_power", ""): Reason.NOT_A_NUMBER,
        (sixteen, f"{of}tx_power", "high"): Reason.NOT_A_NUMBER,
    }
    assert told[1][sixteen, f"{of}temperature", "3.3Volts"][1] == "unit Cel, not Volts"


def test_a_port_that_was_switched_off_is_neither_down_nor_dark(told):
    of = {metric for link, metric, _ in told[0] if link == "link:leaf1/Ethernet8"}
    assert of == {
        "hw.network.enabled",
        "hw.network.transceiver.temperature",
        "hw.network.transceiver.supply_voltage",
        "hw.network.transceiver.beyond_limit",
    }
    beyond = [about for _, metric, about in told[0] if metric.endswith("beyond_limit")]
    assert sum("temperature" in about for about in beyond) == 2
    assert sum("rx_power" in about for about in beyond) == 1


def test_thresholds_of_modules_are_not_believed(told):
    assert not [metric for _, metric, _ in told[0] if "threshold" in metric]


def test_only_reading_commands_are_ever_sent(port):
    with client.Redis(port=port, password="open-sesame") as database:
        database.config_resetstat()
        ask(port)
        sent = {name for name in database.info("commandstats") if name.startswith("cmdstat_")}
    known = {"cmdstat_config|resetstat", "cmdstat_info"}
    assert sent - known <= {"cmdstat_hgetall", "cmdstat_auth", "cmdstat_select"}
    assert "cmdstat_hgetall" in sent


def test_a_local_socket_tells_the_same(told, port, folder):
    assert ask(f"leaf1={folder / 'redis.sock'}") == told
    plain = Switches(Sonic(targets=(str(folder / "redis.sock"),)))
    assert plain.targets()[0].name == socket.gethostname()


@pytest.mark.parametrize("check", list(collector_checks()), ids=lambda check: check.__name__)
def test_it_behaves_as_a_collector(check, port):
    device = f"leaf1=127.0.0.1:{port}"
    check(Sonic(targets=(device,), password=Secret("open-sesame"), interval=2.0))


def test_a_switch_that_hangs_is_told_to_be_down_while_another_goes_on(port):
    with agents.fake_tcp() as hanging:
        both = (f"leaf1=127.0.0.1:{port}", f"leaf2=127.0.0.1:{hanging}")
        source = Sonic(targets=both, password=Secret("open-sesame"), interval=2.0, timeout=0.8)
        reader, up, deadline = source.open(None), {}, time.monotonic() + 20
        try:
            while len(up) < 2 and time.monotonic() < deadline:
                batch = reader.poll()
                for row, value in zip(*_columns(batch), strict=True) if batch else ():
                    if keys_of(batch)["metric"][row].as_py() == "up":
                        up[keys_of(batch)["entity"][row].as_py()] = value
        finally:
            reader.close()
    assert up == {"device:leaf1": 1.0, "device:leaf2": 0.0}


def _columns(batch):
    return batch.samples["series"].to_pylist(), batch.samples["value"].to_pylist()


@pytest.mark.parametrize("password", ["wrong-word", ""])
def test_a_wrong_password_is_an_error_that_does_not_show_it(port, password):
    with pytest.raises(InputError, match=r"leaf1: .*([Pp]assword|Authentication)") as caught:
        ask(port, password=Secret(password))
    assert "wrong-word" not in str(caught.value)
    assert "wrong-word" not in repr(Sonic(targets=("a",), password=Secret("wrong-word")))


@pytest.mark.parametrize("first", [b"", b"*1000000\r\n$5\r\n"])
def test_a_database_that_accepts_and_hangs_is_given_up_at_the_deadline(first):
    with (
        agents.fake_tcp(first) as port,
        pytest.raises(InputError, match="leaf1: no answer in time"),
    ):
        ask(port, 0.5, password=Secret(""))


def test_a_server_that_is_no_database_is_an_error():
    with agents.fake_tcp(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port, pytest.raises(InputError):
        ask(port, 2.0, password=Secret(""))


@pytest.mark.parametrize(
    "said",
    [
        b":5\r\n",
        b"$abc\r\n",
        b"*2\r\n*1\r\n:1\r\n:2\r\n",
        b"*1\r\n" * 5000,
        b"%1\r\n+a\r\n+b\r\n",
        b"*99999999999999999\r\n",
        b"*2\r\n:1\r\n:2\r\n",
    ],
)
def test_answers_of_another_shape_are_errors(said):
    def answer(question: bytes) -> bytes:
        return b"+OK\r\n" if b"SELECT" in question else said

    with agents.fake_tcp(b"", answer) as port, pytest.raises(InputError, match="leaf1: "):
        ask(port, 1.0, password=Secret(""))


def test_nobody_at_the_door_is_an_error():
    with pytest.raises(InputError, match="leaf1: "):
        ask(agents.free_port(), 5.0)


def test_a_switch_without_ports_and_one_with_too_many_are_errors(tmp_path):
    with agents.redis(tmp_path) as port:
        with pytest.raises(InputError, match="COUNTERS_PORT_NAME_MAP is empty"):
            ask(port, password=Secret(""))
        load(port)
        with pytest.raises(InputError, match="more than 2 ports"):
            ask(port, password=Secret(""), ports_max=2)
        with client.Redis(port=port, db=6) as database:
            database.set("TRANSCEIVER_INFO|Ethernet0", "not a table")
        with pytest.raises(InputError, match="WRONGTYPE"):
            ask(port, password=Secret(""))


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"targets": ()}, "no targets"), ({"ports_max": 0}, "ports_max is not above 0")],
)
def test_a_configuration_that_cannot_work_is_refused_before_anything_is_asked(fields, message):
    with pytest.raises(ConfigError, match=message):
        Sonic(**{"targets": ("leaf1",), **fields})


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigError, match=r"pip install watchkeeper\[sonic\]"):
        Sonic(targets=("leaf1",)).open(None)


def test_questions_in_many_threads_do_not_meet(told, port):
    async def many():
        return await asyncio.gather(*(asyncio.to_thread(ask, port) for _ in range(8)))

    assert all(one == told for one in asyncio.run(many()))


WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["N/A", "-inf", "inf", "nan", "3.3Volts", "True", "up", "1e999", "\u0663"]),
    st.floats().map(str),
)
FIELDS = st.sampled_from(
    [
        "temperature", "voltage", "rx1power", "rx2power", "tx1bias", "laser_temperature",
        "admin_status", "oper_status", "speed", "flap_count", f"{SAI}IF_IN_ERRORS",
        "FEC_PRE_BER", "tempHAlarm", "rx12powerLWarn", "rxpowerLWarn", "serial", "model",
    ]
)  # fmt: skip
ROWS = st.dictionaries(FIELDS, WORDS, max_size=17)


@settings(deadline=None, max_examples=150)
@given(st.tuples(ROWS, ROWS, ROWS, ROWS, ROWS, ROWS))
def test_whatever_text_a_switch_holds_is_told_or_unread(rows):
    said = Said(0)
    tell(said, LEAF, Port("Ethernet0", *rows))
    assert all(isinstance(one.value, float) for one in said.readings)
    assert all(one.detail for one in said.unread)
