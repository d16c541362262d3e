"""A marked secret in every slot there is, a house that runs and fails, and no trace of the mark."""

import json
import os
import signal
import socket
import sqlite3
import time
import urllib.error
import urllib.request
from contextlib import closing

import pytest
from tests.commands import finished, process
from tests.secrets import recorded

from watchkeeper import config, plugins
from watchkeeper.config import _plugs, _schema, _secrets
from watchkeeper.journal.sqlite import Sqlite as Journal
from watchkeeper.ledger.sqlite import Sqlite as Ledger
from watchkeeper.model import canonical

MARK = "WK_CANARY_"
GONE = "127.0.0.1:9"  # nobody listens at the discard port
FAMILIES = ("receivers", "sources", "detectors", "health", "actions", "engines", "secrets")
# How each type with a slot is configured, so that it is used and fails; each {slot} is a mark.
SOURCES = {
    "gnmi": ["targets: [leaf1={gone}], user: me, tls: false, password: {password}"],
    "mqtt": ["broker: {gone}, tls: false, user: me, password: {password}, "
             "topics: [{{topic: 'a/#', entity: 'host:a', metric: m}}]"],
    "scrape": ["targets: ['{gone}'], basic_auth_user: me, "
               "basic_auth_password: {basic_auth_password}",
               "targets: ['{echo}'], bearer_token: {bearer_token}, name: scrape2"],
    "snmp": ["targets: ['127.0.0.1:9'], community: {community}, timeout: 1s",
             "targets: ['127.0.0.1:9'], snmp_version: '3', user: me, auth_key: {auth_key}, "
             "priv_key: {priv_key}, name: snmp3, timeout: 1s"],
    "sonic": ["targets: ['{gone}'], password: {password}"],
    "sql": ["url: 'postgresql+psycopg://me@{gone}/x', password: {password}, "
            "queries: [{{name: q, sql: 'select 1 as one'}}]"],
}  # fmt: skip
ACTIONS = {
    "alertmanager": ["url: 'http://{echo}/teams/{url}'"],
    "webhook": ["url: 'http://{echo}/services/{url}?token={url}', secret: {secret}, "
                "headers: {{Authorization: 'Bearer {headers}'}}"],
}  # fmt: skip
SECRETS = {
    "azure": ["vault_url: 'https://{gone}', tenant_id: t, client_id: c, "
              "client_secret: {client_secret}"],
    "vault": ["address: 'http://{echo}', token: {token}",
              "address: 'http://{echo}', role_id: r, secret_id: {secret_id}"],
}  # fmt: skip
SECTIONS = {
    "tracing": "endpoint: 'http://{echo}/v1/traces', sample: 1.0, timeout: 1s, "
               "headers: {{Authorization: 'Bearer {headers}'}}",
}  # fmt: skip
USED = {"sources": SOURCES, "actions": ACTIONS, "secrets": SECRETS}


class Slots(dict):
    """Gives every slot a mark of its own."""

    def __init__(self, **known):
        super().__init__(known)
        self.marks = []

    def __missing__(self, name):
        self.marks.append(f"{MARK}{name}_{len(self.marks)}")
        return self.marks[-1]


def test_every_slot_of_every_type_is_in_the_scenario():
    for family in FAMILIES:
        for kind in plugins.kinds(family):
            types = _plugs.types_of(plugins.load(family, kind))
            slots = [name for name, type_ in types.items() if _secrets.holds(type_)]
            said = " ".join(USED.get(family, {}).get(kind, []))
            missing = [name for name in slots if f"{{{name}}}" not in said]
            assert not missing, f"{family}.{kind}: add it to the tables of this test"


def test_every_slot_of_every_section_is_in_the_scenario():
    """And what is named like a secret is one, or names a file that only holds it."""
    for name, section in _schema.SECTIONS.items():
        types = _plugs.types_of(section)
        slots = [field for field, type_ in types.items() if _secrets.holds(type_)]
        missing = [field for field in slots if f"{{{field}}}" not in SECTIONS.get(name, "")]
        assert not missing, f"{name}: add it to the tables of this test"
        words = ("secret", "password", "token", "header", "credential")
        named = {field for field in types if any(word in field for word in words)}
        assert named == set(slots), f"{name}: a secret is of type Secret"


def written(slots, folder):
    """Return a configuration in which every slot holds a mark."""
    lines = ["version: 1", f"data: {folder}", "tick: 100ms", "packs: [host@1, generic@1]"]
    lines += [
        "flags:",
        "  action.webhook: true",
        "  action.alertmanager: true",
        *(f"  source.{kind}: true" for kind in SOURCES),
    ]
    lines += ["sources:", "  - {type: host, interval: 1s}"]
    for kind, ways in SOURCES.items():
        lines += [
            f"  - {{type: {kind}, interval: 2s, {one.format_map(slots)}}}"
            if "timeout" in one or kind in ("mqtt", "gnmi")
            else f"  - {{type: {kind}, interval: 2s, timeout: 1s, {one.format_map(slots)}}}"
            for one in ways
        ]
    lines.append("log: {level: debug}")
    lines += [f"{name}: {{{text.format_map(slots)}}}" for name, text in SECTIONS.items()]
    lines.append("actions:")
    for kind, ways in ACTIONS.items():
        lines += [f"  {kind}: {{type: {kind}, {one.format_map(slots)}}}" for one in ways]
    lines.append("secrets:")
    for kind, ways in SECRETS.items():
        lines += [
            f"  {kind}{n}: {{type: {kind}, {one.format_map(slots)}}}" for n, one in enumerate(ways)
        ]
    lines += [
        "policies:",
        "  - {name: any, when: 'health <= 100.0', action: [webhook, alertmanager],",
    ]
    lines += ["     mode: auto, resolve: true, cooldown: 0s}"]
    return "\n".join([*lines, ""])


def told(url, path):
    try:
        with urllib.request.urlopen(f"{url}{path}", timeout=10) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError:
        return ""


def until(holds, seconds=150):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.2)
    raise AssertionError("it did not happen in time")


def decoded(data):
    """Return everything in the stores as text, unpacked."""
    texts = []
    with closing(Journal(path=data / "journal.sqlite").open(read_only=True)) as journal:
        for entry in journal.read(0, 10**6):
            texts += [one.body + one.actor for one in entry.controls]
            texts += [str(entry.new.to_pylist()), str(entry.rejected.to_pylist()), entry.cursor]
    with closing(Ledger(path=data / "ledger.sqlite").open(read_only=True)) as ledger:
        texts += [link.body for link in ledger.links()]
        texts += [str(order) + str(receipt) for order, receipt in ledger.orders(10_000)]
    return "\n".join(texts)


@pytest.mark.parametrize("broken", ["version: 1\ntick: {s}\n", "version: 1\nactions: [{s}]\n"])
def test_a_wrong_configuration_shows_no_value_of_the_environment(broken, tmp_path):
    (tmp_path / "c.yaml").write_text(broken.format(s="${SLOT}"))
    code, out, err = finished("check", tmp_path / "c.yaml", env={"SLOT": f"{MARK}env"})
    assert code == 78
    assert MARK not in out + err


def echoing(asked):
    """A receiver that repeats whatever it was sent, which is the worst it can do."""
    heard = f"{asked.path} {dict(asked.headers)} {asked.body.decode()}"
    return 401, {}, {"error": f"who are you? {heard}"}


def test_no_secret_comes_out_of_a_house_that_runs_fails_and_is_reloaded(tmp_path):
    data, file = tmp_path / "data", tmp_path / "c.yaml"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shown = []
    with recorded.served(echoing) as (echo, heard):
        slots = Slots(gone=GONE, echo=echo.removeprefix("http://"))
        file.write_text(written(slots, data))
        file.chmod(0o600)
        assert len(slots.marks) >= 12
        house = process("run", "--config", file, "--listen", f"127.0.0.1:{port}")
        url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: told(url, "/-/ready") == "ready\n")
            until(lambda: [one for one in heard if one.path.startswith("/services/")])
            until(lambda: [one for one in heard if one.path.startswith("/teams/")])
            until(lambda: [one for one in heard if one.path == "/v1/traces"])
            failing = until(
                lambda: (
                    (s := json.loads(told(url, "/api/v1/status"))["data"])
                    and any(one["failures"] for targets in s["targets"].values() for one in targets)
                    and s
                )
            )
            shown.append(str(failing))
            file.write_text(file.read_text() + "tock: 1\n")
            house.send_signal(signal.SIGHUP)
            until(lambda: "config_last_reload_successful 0.0" in told(url, "/metrics"))
            file.write_text(written(slots, data).replace("cooldown: 0s", "cooldown: 1s"))
            house.send_signal(signal.SIGHUP)
            until(lambda: "config_last_reload_successful 1.0" in told(url, "/metrics"))
            pages = ("/", "/metrics", "/api/v1/status", "/api/v1/decisions", "/api/v1/flags")
            shown += [told(url, page) for page in pages]
            shown += [told(url, "/api/v1/entities"), told(url, "/nowhere")]
            shown += list(finished("status", "--data", data)[1:])
        finally:
            house.send_signal(signal.SIGTERM)
            shown += list(house.communicate(timeout=60))
        assert [one for one in heard if MARK in str(one.headers)], "the marks were not used"
        shown += list(finished("check", file)[1:])
        shown += list(finished("verify", "--data", data)[1:])
        shown += list(finished("report", "--data", data, "--out", tmp_path / "report.html")[1:])
        shown += list(finished("quarantine", "list", "--data", data)[1:])
    shown.append(decoded(data))
    shown.append(canonical(config.rulebook(config.load([file], {}, keeper=_blind()))))
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != file]
    shown += [path.read_bytes().decode("latin-1") for path in files]
    with closing(sqlite3.connect(data / "ledger.sqlite")) as ledger:
        shown.append("\n".join(ledger.iterdump()))
    assert sum(map(len, shown)) > 10_000
    for text in shown:
        at = text.find(MARK)
        assert at < 0, text[max(0, at - 200) : at + 100]
    assert MARK not in str(sorted(os.environ))


def _blind():
    from watchkeeper.secrets import Keeper

    return Keeper(blind=True)
