"""`watchkeeper load`: what it sends, what it makes of the answers, and that it finds losses."""

import contextlib
import http.server
import json
import math
import shutil
import ssl
import subprocess
import threading
import time
import urllib.request

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from tests.commands import wk

from watchkeeper.simulate.accounts import Account, read, verdict
from watchkeeper.simulate.latencies import Latencies
from watchkeeper.simulate.load import phases
from watchkeeper.simulate.payloads import PROTOCOLS

from .driving import house

SMALL = ("--series", 200, "--entities", 5, "--batch", 50)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with house(tmp_path_factory.mktemp("load")) as one:
        one.begin()
        yield one
        assert one.end() == 0
        one.prove()


def loaded(capsys, to, *more):
    """Return the exit code and the facts of one short load."""
    code = wk("load", "--to", to, *SMALL, *more, "--output", "json")
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_house_keeps_all_that_it_acknowledged_in_every_protocol(running, capsys, protocol):
    before = running.status()["journal"]["samples"]
    to = f"http://127.0.0.1:{running.port}"
    wanted = ("--protocol", protocol, "--rate", 2_000, "--duration", "1s")
    code, facts = loaded(capsys, to, *wanted)
    (steady,) = facts["phases"]
    assert code == 0
    assert set(steady["answers"]) <= {"200", "204"}
    assert steady["offered"] == steady["acknowledged"] > 0
    assert (steady["refused"], steady["given_up"], steady["resets"]) == (0, 0, 0)
    server = facts["server"]
    assert (server["missing"], server["surplus"], server["duplicate"]) == (0, 0, 0)
    assert server["settled_seconds"] is not None
    assert running.status()["journal"]["samples"] - before == steady["acknowledged"]


def test_the_text_says_throughput_latency_answers_and_loss(running, capsys):
    to = f"http://127.0.0.1:{running.port}"
    assert wk("load", "--to", to, *SMALL, "--rate", 600, "--burst", 4, "--duration", "3s") == 0
    told = capsys.readouterr().out
    assert "p99.9" in told
    assert [line.split()[0] for line in told.splitlines()[3:6]] == ["before", "burst", "after"]
    assert "0 acknowledged samples are missing" in told
    assert "everything was concluded" in told


class Liar(http.server.BaseHTTPRequestHandler):
    """A server that acknowledges by a script, and keeps nothing."""

    protocol_version = "HTTP/1.1"
    script = ()
    seen = ()
    account = None

    def do_POST(self):
        self.seen.append(self.rfile.read(int(self.headers["Content-Length"])))
        step = self.script.pop(0) if self.script else 204
        if step == "reset":
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(step)
        if step in (429, 503):
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        body = json.dumps({"data": self.account}).encode()
        self.send_response(200 if self.account else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def lying(script=(), account=None):
    kind = type("Told", (Liar,), {"script": list(script), "seen": [], "account": account})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", kind
        finally:
            server.shutdown()
            thread.join()


EMPTY = {
    "started": "2026-01-01T00:00:00Z",
    "receivers": {},
    "journal": {"samples": 0},
    "counts": {"scored": 0, "duplicate": 0, "late": 0},
}
ONE = ("--connections", 1, "--rate", 500, "--duration", "1s")


def test_what_was_acknowledged_and_is_not_there_makes_it_fail(capsys):
    with lying(account=EMPTY) as (to, _):
        code, facts = loaded(capsys, to, *ONE)
    assert code == 1
    assert facts["server"]["missing"] == facts["phases"][0]["acknowledged"] > 0


@pytest.mark.parametrize("trouble", [503, 429, 502, "reset"])
def test_what_may_succeed_later_is_sent_again_with_the_same_bytes(capsys, trouble):
    with lying([204, trouble]) as (to, server):
        code, facts = loaded(capsys, to, *ONE)
    (steady,) = facts["phases"]
    assert code == 0
    assert server.seen[1] == server.seen[2]
    assert (steady["retries"], steady["acknowledged"]) == (1, steady["offered"])
    assert steady["resets"] == (trouble == "reset")
    assert facts["server"] is None


def test_a_refusal_is_final_and_is_counted(capsys):
    with lying([400, 413]) as (to, _):
        code, facts = loaded(capsys, to, *ONE)
    (steady,) = facts["phases"]
    assert code == 0
    assert (steady["answers"]["400"], steady["answers"]["413"]) == (1, 1)
    assert steady["refused"] == 100
    assert steady["acknowledged"] == steady["offered"] - 100


def test_a_server_that_takes_nothing_is_a_failure(capsys):
    with lying([400] * 1000) as (to, _):
        assert loaded(capsys, to, *ONE)[0] == 1


def test_another_machine_is_not_loaded_by_mistake(capsys):
    assert wk("load", "--to", "http://192.0.2.1:8470") == 78
    assert "192.0.2.1 is another machine" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        ("--rate", -1), ("--burst", 10), ("--series", 0), ("--entities", 20_000), ("--batch", 0),
        ("--connections", 1000), ("--duration", "10"), ("--duration", "2d"), ("--duration", "0s"),
        ("--token-file", "/nowhere"),
    ],
)  # fmt: skip
def test_numbers_that_make_no_sense_are_refused_before_anything_is_sent(capsys, wrong):
    with lying() as (to, server):
        assert wk("load", "--to", to, *wrong) == 78
    assert server.seen == []
    assert wrong[0] in capsys.readouterr().err


@pytest.mark.parametrize("longer", ["1s", "soon"])
def test_a_burst_that_leaves_no_room_is_refused_before_anything_is_sent(capsys, longer):
    how = ("--rate", 600, "--burst", 4, "--duration", "1s", "--burst-for", longer)
    with lying() as (to, server):
        assert wk("load", "--to", to, *how) == 78
    assert server.seen == []
    assert longer in capsys.readouterr().err


def test_a_server_that_is_not_there_is_named(capsys):
    assert wk("load", "--to", "http://127.0.0.1:9", "--duration", "1s") == 1
    assert "WK900 127.0.0.1:9 does not answer" in capsys.readouterr().err


def test_a_token_is_sent_and_never_shown(capsys, tmp_path):
    (tmp_path / "token").write_text("open-sesame\n")
    heard = []

    class Asked(Liar):
        def do_POST(self):
            heard.append(self.headers["Authorization"])
            super().do_POST()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Asked) as server:
        threading.Thread(target=server.serve_forever).start()
        to = f"http://127.0.0.1:{server.server_address[1]}"
        wk("load", "--to", to, *SMALL, *ONE, "--token-file", tmp_path / "token")
        server.shutdown()
    said = capsys.readouterr()
    assert set(heard) == {"Bearer open-sesame"}
    assert "open-sesame" not in said.out + said.err


def test_a_server_with_tls_is_loaded_under_its_name(capsys, tmp_path, monkeypatch):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    kind = type("Told", (Liar,), {"script": [], "seen": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever).start()
        to = f"https://localhost:{server.server_address[1]}"
        code, facts = loaded(capsys, to, *ONE)
        server.shutdown()
    assert code == 0
    assert facts["phases"][0]["acknowledged"] == 50 * len(kind.seen)


@contextlib.contextmanager
def peer(port, *command):
    """Run a server of Debian's until the block is left."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            end = time.monotonic() + 60
            while time.monotonic() < end:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2).read()
                    break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            child.terminate()


def free_port():
    with http.server.HTTPServer(("127.0.0.1", 0), Liar) as one:
        return one.server_address[1]


def test_prometheus_itself_takes_it_and_its_loss_is_not_claimed_to_be_known(capsys, tmp_path):
    (tmp_path / "p.yml").write_text("global: {scrape_interval: 1h}\n")
    port = free_port()
    with peer(
        port, shutil.which("prometheus"), f"--config.file={tmp_path}/p.yml",
        f"--storage.tsdb.path={tmp_path}/tsdb", f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver",
    ) as to:  # fmt: skip
        code, facts = loaded(capsys, to, "--rate", 2_000, "--duration", "1s")
        query = f"{to}/api/v1/query?query=count(%7Bjob%3D%22watchkeeper-load%22%7D)"
        held = json.load(urllib.request.urlopen(query, timeout=10))
    (steady,) = facts["phases"]
    assert (code, facts["server"]) == (0, None)
    assert steady["acknowledged"] == steady["offered"] > 0
    assert set(steady["answers"]) == {"204"}
    assert held["data"]["result"][0]["value"][1] == "200"


@pytest.mark.parametrize("protocol", ["remote_write", "influx"])
def test_victoriametrics_takes_it(capsys, tmp_path, protocol):
    port = free_port()
    with peer(
        port, shutil.which("victoria-metrics"), f"-storageDataPath={tmp_path}/vm",
        f"-httpListenAddr=127.0.0.1:{port}",
    ) as to:  # fmt: skip
        code, facts = loaded(
            capsys, to, "--protocol", protocol, "--rate", 2_000, "--duration", "1s"
        )
    (steady,) = facts["phases"]
    assert (code, facts["server"]) == (0, None)
    assert steady["acknowledged"] == steady["offered"] > 0


def test_a_burst_is_the_middle_third_or_as_long_as_told():
    assert phases("30s", 100.0, 1.0) == (("steady", 30.0, 100.0),)
    assert [(p.seconds, p.rate) for p in phases("30s", 100.0, 10.0)] == [
        (10.0, 100.0), (10.0, 1000.0), (10.0, 100.0),
    ]  # fmt: skip
    assert [p.seconds for p in phases("3m", 100.0, 10.0, "2m")] == [30.0, 120.0, 30.0]
    for longer in ("3m", "4m"):
        with pytest.raises(ValueError, match="leaves nothing of 3m around it"):
            phases("3m", 100.0, 10.0, longer)


@given(st.lists(st.floats(1e-6, 3600.0), min_size=1, max_size=200))
def test_percentiles_are_true_to_one_percent(durations):
    counted = Latencies()
    for one in durations:
        counted.add(one)
    told = counted.summary()
    assert told["max"] == pytest.approx(1000 * max(durations), abs=1e-3)
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        exact = 1000 * sorted(durations)[math.ceil(share * len(durations)) - 1]
        assert told[name] == pytest.approx(exact, rel=0.011, abs=2e-3)


def account(started="a", accepted=0, taken=0, **concluded):
    counts = {"scored": 0, "duplicate": 0, "late": 0} | concluded
    told = {"offered": taken, "accepted": taken, "rejected": 0, "shed": 0}
    return Account(started, told, accepted, counts)


def test_both_accounts_must_cover_what_was_acknowledged():
    before, good = account(accepted=5, taken=2), account(accepted=15, taken=12)
    assert verdict(before, good, 10).missing == 0
    assert verdict(before, account(accepted=15, taken=9), 10).missing == 3
    assert verdict(before, account(accepted=12, taken=12), 10).missing == 3
    assert verdict(before, account(accepted=99, taken=13), 10).surplus == 1


def test_after_a_restart_only_the_journal_counts():
    before, after = account(accepted=5, taken=400), account("b", accepted=15, taken=3)
    found = verdict(before, after, 10)
    assert (found.missing, found.restarted) == (0, True)
    assert verdict(before, after, 11).missing == 1


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"data": 1}', b'{"data": {"started": ""}}'])
def test_what_is_no_account_is_none(body):
    assert read(body, "influx") is None
