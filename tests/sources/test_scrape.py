"""Real exporters, and servers that misbehave, scraped over loopback."""

import gzip
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections import Counter

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.sources import hostile
from tests.sources.hostile import HOSTILE, PAGE, Server, good, saying

from watchkeeper.config import _plugs
from watchkeeper.errors import ConfigError, InputError
from watchkeeper.identity import Identity
from watchkeeper.model import STALE_BITS
from watchkeeper.secret import Secret
from watchkeeper.sources import _discovery
from watchkeeper.sources._discovery import Ways, endpoint
from watchkeeper.sources._exposition import Reader
from watchkeeper.sources._fetch import Client, Credentials
from watchkeeper.sources.scrape import Scrape, Scraper, joined
from watchkeeper.testing.sources import collector_checks, keys_of

SOON = 20.0


def heard(reader, done, seconds=SOON):
    """Poll until `done` says so of what came: {(entity, metric, attributes): values}, controls."""
    series, controls, unread = {}, [], []
    end = time.monotonic() + seconds
    while not done(series, controls):
        assert time.monotonic() < end, (reader.states(), controls)
        batch = reader.poll()
        if batch is None:
            continue
        keys = [tuple(key.values()) for key in keys_of(batch).to_pylist()]
        assert len(set(keys)) == len(keys)
        for s, value in zip(
            batch.samples["series"].to_pylist(), batch.samples["value"].to_pylist(), strict=True
        ):
            stale = np.array([value]).view(np.uint64)[0] == STALE_BITS
            series.setdefault(keys[s], []).append("stale" if stale else value)
        controls += [json.loads(control.body) for control in batch.controls]
        unread += batch.unread.to_pylist()
    return series, controls, unread


def ups(series, name):
    return series.get((f"target:scrape/{name}", "up", "{}"), [])


def ask(server_or_name, path="/metrics", *, deadline=3.0, **options):
    """Ask one page once."""
    name = getattr(server_or_name, "name", server_or_name)
    scraper = Scraper(Scrape(targets=(name,), path=path, **options))
    (target,) = scraper.targets()
    return scraper.collect(target, time.monotonic() + deadline)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("check", list(collector_checks()), ids=lambda check: check.__name__)
def test_scrape_behaves_like_a_collector(check):
    with Server(good) as server, Server(good, "127.0.0.2") as other:
        check(Scrape(targets=(server.name, other.name), interval=0.5))


class Exporter:
    """node-exporter of Debian, started and ended by us."""

    def __init__(self, port):
        self.name = f"127.0.0.1:{port}"
        binary = shutil.which("prometheus-node-exporter")
        assert binary, "install Debian's prometheus-node-exporter"
        self.process = subprocess.Popen(
            [binary, f"--web.listen-address={self.name}", "--log.level=error"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + SOON
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                return
            except OSError:
                assert self.process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.02)

    def kill(self):
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def exporter():
    running = []

    def start(port):
        running.append(Exporter(port))
        return running[-1]

    yield start
    for one in running:
        one.kill()


def test_a_page_of_the_real_exporter_is_read_like_the_official_parser_does(exporter):
    one = exporter(free_port())
    page = Client(Credentials(), 1 << 24).get(
        f"http://{one.name}/metrics", {}, time.monotonic() + 10
    )
    assert not page.cut
    found = Reader(lambda metric, labels: ("e", metric, json.dumps(labels))).read(page.body, 1, "t")
    samples = [
        s for family in text_string_to_metric_families(page.body.decode()) for s in family.samples
    ]
    assert len(samples) > 300
    assert found.samples.num_rows == len(samples)
    assert found.unread.num_rows == 0
    assert Counter(found.keys["metric"].to_pylist()) == Counter(s.name for s in samples)
    collected = ask(one, job="node")
    entities = dict(zip(collected.keys["metric"].to_pylist(), collected.keys["entity"].to_pylist(),
                        strict=True))  # fmt: skip
    assert entities["node_load1"] == "host:127.0.0.1"
    assert entities["go_goroutines"] == f"target:node/{one.name}"


def test_an_exporter_that_dies_and_comes_back_is_followed_all_the_way(exporter):
    port = free_port()
    one = exporter(port)
    reader = Scrape(targets=(one.name,), interval=0.25, timeout=0.2).open(None)
    try:
        load = ("host:127.0.0.1", "node_load1", '{"job":"scrape"}')
        heard(reader, lambda series, _: len(series.get(load, [])) >= 2)
        one.kill()
        series, controls, _ = heard(reader, lambda _, found: len(found) >= 2)
        assert [c["state"] for c in controls] == ["failing", "open"]
        assert controls[1]["failures"] == 5
        assert ups(series, one.name).count(0.0) >= 5
        assert series[load][-1] == "stale"
        assert series[load].count("stale") == 1
        exporter(port)
        series, controls, _ = heard(reader, lambda series, _: 1.0 in ups(series, one.name))
        assert [c["state"] for c in controls][-1] == "closed"
        assert series[load][-1] >= 0
        (state,) = reader.states()
        assert (state.name, state.state, state.error) == (one.name, "closed", "")
    finally:
        reader.close()


def test_good_targets_are_asked_every_round_whatever_twenty_hostile_ones_do(tmp_path):
    behaviours = [*HOSTILE.values(), hostile.endless_body, hostile.flapping, hostile.bomb(40 << 20)]
    behaviours += behaviours[: 20 - len(behaviours)]
    servers = [Server(behave, f"127.0.1.{n + 1}") for n, behave in enumerate(behaviours)]
    well = Server(good)
    names = [f"http://{well.name}/{n}" for n in range(20)]
    bad = [server.name for server in servers]
    interval = 1.5
    scrape = Scrape(targets=(*names, *bad), interval=interval, timeout=1.0, body_bytes=1 << 20)
    reader = scrape.open(None)
    try:
        began = time.monotonic()
        series, _, _ = heard(reader, lambda *_: min(well.asked.values(), default=0) >= 3, 40)
        rounds = int((time.monotonic() - began) / interval)
        assert len(well.asked) == 20
        assert max(well.asked.values()) - min(well.asked.values()) <= 1
        assert min(well.asked.values()) >= rounds - 1, "nobody missed a round"
        assert set(ups(series, well.name)) == {1.0}
        states = {state.name: state for state in reader.states()}
        for server, behave in zip(servers, behaviours, strict=True):
            if behave is hostile.endless_body or behave.__name__ == "behave":
                assert set(ups(series, server.name)) != {0.0}, "what fits is kept"
            elif behave is not hostile.flapping:
                assert not ups(series, server.name) or 1.0 not in ups(series, server.name)
                assert states[server.name].error
    finally:
        begin = time.monotonic()
        reader.close()
        assert time.monotonic() - begin < 15, "some of them would hold it for 30 s"
        for server in [well, *servers]:
            server.__exit__()


@pytest.mark.parametrize("behave", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_every_misbehaviour_is_one_clear_error_before_the_deadline(behave, scheme):
    with Server(behave) as server:
        begin = time.monotonic()
        with pytest.raises(InputError) as caught:
            ask(f"{scheme}://{server.name}/metrics", deadline=0.15)
        assert time.monotonic() - begin < 15, "the quickest of them would go on for 30 s"
        assert server.name in str(caught.value)


def test_an_address_that_answers_nobody_is_an_error():
    with pytest.raises(InputError, match=r"127\.0\.0\.1"):
        ask(f"127.0.0.1:{free_port()}")
    with pytest.raises(InputError, match="no whole answer"):
        ask("127.0.0.1:1", deadline=-1.0)


@pytest.mark.parametrize("behave", [hostile.endless_body, hostile.bomb(64 << 20)])
def test_of_a_page_without_end_what_fits_is_kept(behave):
    with Server(behave) as server:
        found = ask(server, body_bytes=100_000)
        assert found.samples.num_rows > 1000
        (row,) = found.unread.to_pylist()
        assert row["reason"] == "too_large"
        assert "100000 bytes" in row["detail"]


def test_a_page_of_a_hundred_megabytes_costs_no_more_than_the_limit():
    page = b"".join(b"metric_%d 1\n" % n for n in range(2_000))
    with Server(saying(page * 4_000)) as server:
        found = ask(server, deadline=20, sample_limit=1000)
        assert found.samples.num_rows == 1000
        assert {row["reason"] for row in found.unread.to_pylist()} == {
            "too_large", "too_many_series",
        }  # fmt: skip


def test_a_packed_page_is_unpacked_and_a_broken_one_refused():
    with Server(saying(gzip.compress(PAGE), Content_Encoding="gzip")) as server:
        assert ask(server).samples["value"].to_pylist() == [1.0, 2.0]
        assert server.requests[0][1]["accept-encoding"] == "gzip"
    with (
        Server(saying(gzip.compress(PAGE)[:-9], Content_Encoding="gzip")) as server,
        pytest.raises(InputError, match="ends too early"),
    ):
        ask(server)
    with (
        Server(saying(b"no gzip at all", Content_Encoding="gzip")) as server,
        pytest.raises(InputError, match="broken gzip"),
    ):
        ask(server)
    with (
        Server(saying(PAGE, Content_Encoding="br")) as server,
        pytest.raises(InputError, match="cannot unpack 'br'"),
    ):
        ask(server)


def test_the_request_is_the_one_that_exporters_know():
    with Server(good) as server:
        ask(server, deadline=5.0)
        path, headers = server.requests[0]
        assert path == "/metrics"
        assert headers["host"] == server.name
        assert headers["accept"].startswith("application/openmetrics-text;version=1.0.0")
        assert "text/plain;version=0.0.4" in headers["accept"]
        assert 4 < float(headers["x-prometheus-scrape-timeout-seconds"]) <= 5
        assert headers["user-agent"] == "watchkeeper"
        assert "authorization" not in headers


def test_openmetrics_is_told_by_the_content_type():
    kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    with Server(saying(b"a 1 1.5\n# EOF\n", kind)) as server:
        assert ask(server).samples["time"].to_pylist() == [1500]
    with Server(saying(b"a 1\n", kind)) as server, pytest.raises(InputError, match="EOF"):
        ask(server)


def test_redirects_are_followed_only_when_allowed_and_take_no_credentials_elsewhere():
    with Server(good) as there:
        away = saying(b"", status="302 Found", Location=f"http://{there.name}/other")
        with Server(away) as here:
            with pytest.raises(InputError, match="HTTP 302"):
                ask(here)
            found = ask(here, follow_redirects=1, bearer_token=Secret("secret"))
            assert found.samples.num_rows == 2
            assert here.requests[-1][1]["authorization"] == "Bearer secret"
            assert there.requests[-1][0] == "/other"
            assert "authorization" not in there.requests[-1][1]
    with Server(hostile.loop) as server:
        with pytest.raises(InputError, match="too many redirects"):
            ask(server, follow_redirects=3, bearer_token=Secret("secret"))
        assert len(server.requests) == 4
        assert server.requests[-1][1]["authorization"] == "Bearer secret"
    for location in ("file:///etc/passwd", "ftp://x/y", "http://u:p@127.0.0.1/", "http://[::1"):
        with (
            Server(saying(b"", status="301 Moved", Location=location)) as server,
            pytest.raises(InputError),
        ):
            ask(server, follow_redirects=5)


def tls(certificate, behave):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def secured(server, one):
        with context.wrap_socket(one, server_side=True) as safe:
            behave(server, safe)

    return secured


def test_https_is_believed_only_with_a_known_authority(certificate):
    with Server(tls(certificate, good)) as server:
        found = ask(server, scheme="https", ca_file=str(certificate[0]))
        assert found.samples.num_rows == 2
        with pytest.raises(InputError, match="certificate"):
            ask(server, scheme="https")
    down = saying(b"", status="302 Found", Location="http://127.0.0.1:1/")
    with (
        Server(tls(certificate, down)) as server,
        pytest.raises(InputError, match="away from https"),
    ):
        ask(server, scheme="https", ca_file=str(certificate[0]), follow_redirects=2)


def test_credentials_are_sent_and_never_printed(tmp_path):
    (tmp_path / "password").write_text("hunter-seven\n")
    (tmp_path / "password").chmod(0o600)
    scrape = _plugs.build(
        "sources",
        {
            "type": "scrape",
            "targets": ["127.0.0.1:1"],
            "basic_auth_user": "me",
            "basic_auth_password_file": str(tmp_path / "password"),
            "interval": "30s",
            "body_bytes": "1MiB",
        },
    )
    assert (scrape.interval, scrape.body_bytes) == (30.0, 1 << 20)
    assert scrape.basic_auth_password.reveal() == "hunter-seven"
    assert "hunter-seven" not in repr(scrape) + repr(scrape.credentials())
    with Server(hostile.unwell) as server:
        with pytest.raises(InputError) as caught:
            ask(server, basic_auth_user="me", basic_auth_password=Secret("hunter-seven"))
        assert server.requests[0][1]["authorization"] == "Basic bWU6aHVudGVyLXNldmVu"
        assert "hunter-seven" not in str(caught.value)
        assert "HTTP 503" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "nothing to scrape"),
        ({"targets": ("a:1",), "path": "metrics"}, "begin with /"),
        ({"targets": ("a:1",), "interval": 0.0}, "interval"),
        ({"targets": ("a:1",), "sample_limit": 0}, "sample_limit"),
        ({"targets": ("file:///etc/passwd",)}, "not an http or https URL"),
        ({"targets": ("http://me:pw@a:1/",)}, "credentials"),
        ({"targets": ("a b:1",)}, "spaces"),
        ({"targets": ("a:99999",)}, "not a URL"),
        ({"http": ("gopher://x/",)}, "not an http or https URL"),
        ({"targets": ("a:1",), "bearer_token": Secret("x\r\nEvil: 1")}, "token"),
        ({"targets": ("a:1",), "bearer_token": Secret("x"), "basic_auth_user": "y"}, "both"),
        ({"targets": ("a:1",), "basic_auth_password": Secret("y")}, "without a user"),
        ({"targets": ("a:1",), "basic_auth_user": "a:b"}, "basic auth cannot carry"),
        ({"targets": ("a:1",), "ca_file": "/nowhere/ca.pem"}, "cannot use ca_file"),
    ],
)
def test_what_cannot_be_scraped_is_refused_at_the_start(fields, says):
    with pytest.raises(ConfigError, match=says) as caught:
        Scrape(**fields)
    assert "Evil" not in str(caught.value)
    assert "pw" not in str(caught.value)


def test_labels_join_as_in_prometheus():
    ours = {"job": "j", "instance": "i"}
    said = {"job": "own", "x": "1", "gone": ""}
    assert joined(said, ours, honor=False) == {
        "exported_job": "own", "x": "1", "job": "j", "instance": "i",
    }  # fmt: skip
    assert joined(said, ours, honor=True) == {"job": "own", "x": "1", "instance": "i"}
    said = {"job": "a", "exported_job": "b"}
    assert joined(said, ours, honor=False)["exported_exported_job"] == "a"


def test_a_target_is_named_and_asked_as_in_prometheus():
    ways = Ways("http", "/metrics", "web", {"site": "a", "rack": "1"})

    def named(text, **labels):
        one = endpoint(text, labels, ways, Identity())
        return one.name, one.url, dict(one.page_labels)["instance"], one.host

    assert named("h:9") == ("h:9", "http://h:9/metrics", "h:9", "h")
    assert named("h")[1:3] == ("http://h/metrics", "h:80")
    assert named("h", __scheme__="https")[1:3] == ("https://h/metrics", "h:443")
    assert named("[::1]:9")[2:] == ("[::1]:9", "::1")
    url = "http://h:9/probe?module=x&target=y"
    assert named("h:9", __metrics_path__="/probe", __param_module="x", __param_target="y") == (
        url, url, "h:9", "h",
    )  # fmt: skip
    assert named("https://h/x")[1:3] == ("https://h/x", "h:443")
    one = endpoint("h:9", {"instance": "db", "rack": "", "__meta": "m"}, ways, Identity())
    assert dict(one.page_labels) == {"job": "web", "instance": "db", "site": "a"}
    assert (one.entity, one.labels) == ("target:web/db", {"site": "a"})


def write(path, document):
    """Replace a file as tools do, whole."""
    path.with_suffix(".new").write_text(
        document if isinstance(document, str) else json.dumps(document)
    )
    os.replace(path.with_suffix(".new"), path)  # noqa: PTH105


def test_targets_come_and_go_with_the_files_that_list_them(tmp_path):
    with Server(good) as server, Server(good) as other:
        path = tmp_path / "targets.json"
        write(path, [{"targets": [server.name, other.name], "labels": {"site": "x"}}])
        reader = Scrape(files=(f"{tmp_path}/*.json",), interval=0.3).open(None)
        gone = (f"target:scrape/{other.name}", "a", '{"site":"x"}')
        try:
            heard(reader, lambda series, _: gone in series)
            write(path, [{"targets": [server.name], "labels": {"site": "x"}}])
            series, controls, _ = heard(reader, lambda _, found: found)
            assert controls == [{"target": other.name, "state": "gone", "error": "", "failures": 0}]
            assert series[gone][-1] == "stale"
            write(path, "[{")
            _, controls, _ = heard(reader, lambda _, found: found)
            assert controls[0]["state"] == "undiscovered"
            assert "not JSON" in controls[0]["error"]
            assert [state.name for state in reader.states()] == [server.name]
        finally:
            reader.close()


def test_lists_in_yaml_and_over_http_are_read(tmp_path):
    write(tmp_path / "a.yml", "- targets: ['a:1', 'b:1']\n  labels: {job: db}\n- targets: []\n")
    listing = json.dumps([{"targets": ["c:1", "a:1"], "labels": {"__metrics_path__": "/m"}}])
    with Server(saying(listing.encode(), "application/json")) as server:
        scraper = Scraper(
            Scrape(
                files=(f"{tmp_path}/*.yml",), http=(f"http://{server.name}/list",),
                bearer_token=Secret("mine"),
            )
        )  # fmt: skip
        found = {one.name: one for one in scraper.targets()}
        assert sorted(found) == ["a:1", "b:1", "http://a:1/m", "http://c:1/m"]
        assert found["a:1"].entity == "target:db/a:1"
        assert "authorization" not in server.requests[0][1], "pages' credentials are for pages"
        again = {one.name: one for one in scraper.targets()}
        assert again == found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "{}"),
        ("a.json", "nonsense"),
        ("a.json", '[{"targets": "a:1"}]'),
        ("a.json", '[{"targets": [1]}]'),
        ("a.json", '["a:1"]'),
        ("a.json", '[{"targets": ["a:1"], "labels": {"x": 1}}]'),
        ("a.json", '[{"targets": ["file:///etc/passwd"]}]'),
        ("a.json", '[{"targets": ["a:1"], "labels": {"__scheme__": "gopher"}}]'),
        ("a.yaml", "- targets: [a:1\n"),
        ("a.yaml", "- !!python/object/apply:os.system [true]\n"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_as_a_whole(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    scraper = Scraper(Scrape(files=(f"{tmp_path}/a.*",)))
    with pytest.raises(InputError):
        scraper.targets()


def test_lists_that_are_too_long_or_cannot_be_opened_are_refused(tmp_path, monkeypatch):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(InputError, match="cannot read"):
        Scraper(Scrape(files=(f"{tmp_path}/a.json",))).targets()
    monkeypatch.setattr(_discovery, "TARGETS_MAX", 1)
    with pytest.raises(InputError, match="2 targets"):
        Scraper(Scrape(targets=("a:1", "b:1"))).targets()
    monkeypatch.setattr(_discovery, "LIST_MAX", 10)
    (tmp_path / "b.json").write_text("[" + " " * 20 + "]")
    with pytest.raises(InputError, match="a list of more"):
        Scraper(Scrape(files=(f"{tmp_path}/b.json",))).targets()


def test_what_was_remembered_of_pages_that_are_gone_is_forgotten(tmp_path):
    with Server(good) as server:
        write(tmp_path / "a.json", [{"targets": [server.name]}])
        scraper = Scraper(Scrape(files=(f"{tmp_path}/a.json",)))
        (target,) = scraper.targets()
        first = scraper.collect(target, time.monotonic() + 5)
        assert scraper.collect(target, time.monotonic() + 5).keys is first.keys
        assert len(scraper._readers) == 1
        write(tmp_path / "a.json", [])
        assert scraper.targets() == []
        assert not scraper._readers


def test_closing_ends_a_question_under_way():
    with Server(hostile.hang) as server:
        reader = Scrape(targets=(server.name,), interval=1.0, timeout=20.0).open(None)
        end = time.monotonic() + SOON
        while not server.requests:
            assert time.monotonic() < end
            reader.poll()
        begin = time.monotonic()
        reader.close()
        assert time.monotonic() - begin < 10, "it may last 20 s"
        with pytest.raises(InputError, match="stopped"):
            reader._collector.collect(reader._collector.targets()[0], time.monotonic() + 5)
