"""`check` beyond the texts: whether what they name is there, and what is worth a second look."""

import json
import socket

import pytest
from tests.commands import wk
from tests.secrets import recorded
from tests.test_pipeline import Stores, rules

from watchkeeper.cli import CONFIGURATION

AROUND = """\
version: 1
data: {folder}
packs: [generic@1]
flags: {{source.scrape: true, source.sonic: true}}
sources:
  - {{type: scrape, targets: ['127.0.0.1:{open}'], http: ['http://127.0.0.1:{closed}/list']}}
  - {{type: sonic, targets: ['leaf1=127.0.0.1:{closed}', /run/none.sock]}}
  - {{type: snmp, targets: ['127.0.0.1']}}
actions:
  tell: {{type: webhook, url: 'http://127.0.0.1:{closed}/x'}}
policies:
  - {{name: p, when: health < 1.0, action: [tell], mode: auto}}
"""


@pytest.fixture
def ports():
    """A port where somebody listens, and one where nobody does."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        yield listening.getsockname()[1], other.getsockname()[1]


@pytest.fixture
def around(tmp_path, ports):
    file = tmp_path / "c.yaml"
    text = AROUND.format(folder=tmp_path / "data", open=ports[0], closed=ports[1])
    file.write_text(text)
    return file


def checked(capsys, *arguments):
    code = wk("check", *arguments, "--output", "json")
    return code, json.loads(capsys.readouterr().out)["checked"][-1]


def test_what_cannot_be_reached_is_named(around, ports, capsys):
    code, facts = checked(capsys, around)
    assert code == 1
    closed = f"127.0.0.1:{ports[1]}: Connection refused"
    assert facts["missing"] == [
        f"source scrape: {closed}", f"source sonic: {closed}", f"action tell: {closed}",
    ]  # fmt: skip
    assert wk("validate", around) == 1  # what other programs call it
    out = capsys.readouterr().out
    assert "not all is there" in out
    assert f"  missing: action tell: {closed}" in out


@pytest.mark.parametrize("how", ["--offline", "--syntax-only"])
def test_nobody_is_asked_when_told_so_and_warnings_fail_only_when_strict(how, around, capsys):
    code, facts = checked(capsys, around, how)
    assert (code, facts["missing"]) == (0, [])
    assert facts["warnings"] == [
        "source snmp is off: flags: {source.snmp: true} switches it on",
        "policy p does not act: flag action.webhook is off",
    ]
    assert wk("check", around, how, "--strict") == 1


def test_secrets_are_fetched_unless_only_the_syntax_is_looked_at(tmp_path, capsys):
    file = tmp_path / "c.yaml"
    vault = recorded.Vault()
    vault.tokens["root"] = 0
    with recorded.served(vault) as (url, _):
        file.write_text(
            "version: 1\npacks: [generic@1]\n"
            f"data: {tmp_path / 'data'}\n"
            f"secrets: {{vault: {{type: vault, address: '{url}', token: root}}}}\n"
            "actions: {tell: {type: log}, hook: {type: webhook, url: 'http://127.0.0.1:9/',\n"
            "  secret: {secret: vault, path: team/hook}}}\n"
        )
        assert wk("check", file, "--syntax-only") == 0
        assert wk("check", file, "--offline") == CONFIGURATION
        vault.secrets["team/hook"] = {"value": "x"}
        assert wk("check", file, "--offline") == 0
    capsys.readouterr()


def test_a_damaged_store_is_found(tmp_path, capsys):
    file = tmp_path / "c.yaml"
    file.write_text(f"version: 1\npacks: [generic@1]\ndata: {tmp_path}\n")
    stores = Stores(tmp_path, rules()).begin()
    decider = stores.decider()
    while decider.decide():
        pass
    stores.close()
    assert checked(capsys, file, "--offline") == (0, checked(capsys, file, "--offline")[1])
    with (tmp_path / "keys" / "ledger.key").open("r+b") as key:
        key.write(b"\0" * 32)
    code, facts = checked(capsys, file, "--offline")
    assert code == 1
    assert facts["missing"]
    assert wk("check", file, "--syntax-only") == 0
