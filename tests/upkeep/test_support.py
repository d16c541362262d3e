"""A bundle for whoever helps says how things are, and holds no secret and no sample."""

import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.commands import wk
from tests.upkeep.houses import a_house

from watchkeeper.upkeep.support import LOG_BYTES, end_of, hidden

MARK = "WK_CANARY_"
SAID = {  # how a secret may stand in a text that others wrote
    "url": "cannot reach https://me:{}@receiver.example/hook",
    "query": "GET https://receiver.example/hook?token={}&a=1",
    "header": "sent Authorization: Bearer {}",
    "scheme": "refused 'Bearer {}'",
    "json": '{{"password": "{}", "user": "me"}}',
    "assignment": "SECRET_KEY={} and more",
    "token": "made wk_prod_k3q5x7ab_{}",
    "key": "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
    "cut_key": "-----BEGIN EC PRIVATE KEY-----\n{}",
    "community": "snmp community: {}",
}


@pytest.mark.parametrize("text", SAID.values(), ids=SAID.keys())
def test_what_looks_like_a_secret_is_hidden(text):
    shown = hidden(text.format(f"{MARK}1"))
    assert MARK not in shown
    assert "<secret>" in shown


@given(st.text())
def test_what_is_hidden_once_stays_as_it_is(text):
    assert hidden(hidden(text)) == hidden(text)


def test_what_is_no_secret_is_left():
    line = '{"event": "decided", "entity": "host:a", "health": 70.0, "tokens": 3}'
    assert "host:a" in hidden(line)
    assert "70.0" in hidden(line)


def unpacked(path):
    with tarfile.open(path) as tar:
        return {one.name: tar.extractfile(one).read().decode() for one in tar.getmembers()}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Of a house whose configuration, environment and log hold a mark wherever one fits."""
    folder = tmp_path_factory.mktemp("support")
    data = a_house(folder / "data")
    (folder / "c.yaml").write_text(
        "version: 1\nlisten: 127.0.0.1:9\nflags: {action.webhook: true}\n"
        "actions:\n  hook:\n    type: webhook\n"
        f"    url: http://127.0.0.1:9/{MARK}path?token={MARK}query\n"
        f"    secret: {MARK}secret\n    headers: {{Authorization: 'Bearer {MARK}header'}}\n"
    )
    (folder / "c.yaml").chmod(0o600)
    lines = [text.format(f"{MARK}log") for text in SAID.values()] + [f"plain {MARK}environment"]
    (folder / "house.log").write_text("\n".join(lines))
    patch = pytest.MonkeyPatch()
    patch.setenv("MY_HOOK_TOKEN", f"{MARK}environment")
    out = folder / "out.tar.gz"
    try:
        assert wk("support", "--data", data, "--config", folder / "c.yaml",
                  "--log", folder / "house.log", "--out", out) == 0  # fmt: skip
    finally:
        patch.undo()
    return out


def test_no_mark_is_in_it_and_no_store(bundle):
    parts = unpacked(bundle)
    assert set(parts) == {
        f"support/{name}"
        for name in ("about.json", "configuration.json", "status.json", "doctor.json",
                     "log.txt", "missing.json")
    }  # fmt: skip
    for name, text in parts.items():
        assert MARK not in text, name
    assert bundle.stat().st_mode & 0o077 == 0


def test_it_says_how_things_are_and_what_is_missing(bundle):
    parts = unpacked(bundle)
    assert "host:a" in parts["support/status.json"]
    assert "<secret>" in parts["support/configuration.json"]
    assert "actions.hook" in parts["support/configuration.json"]
    assert "metrics.txt" in parts["support/missing.json"]
    assert '"apsw"' in parts["support/about.json"]


def test_a_house_that_is_broken_is_what_it_is_for(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("version: 1\nnonsense: true\n")
    out = tmp_path / "out.tar.gz"
    assert wk("support", "--data", tmp_path, "--config", tmp_path / "c.yaml", "--out", out) == 0
    missing = unpacked(out)["support/missing.json"]
    assert "WK300" in missing
    assert "WK100" in missing
    assert "without configuration.json" in capsys.readouterr().out


def test_of_a_long_log_the_last_lines_are_taken_whole(tmp_path):
    line = "x" * 99 + "\n"
    (tmp_path / "log").write_text("first\n" + line * (LOG_BYTES // 100 + 5) + "last\n")
    text = end_of(tmp_path / "log")
    assert text.endswith("last\n")
    assert len(text) <= LOG_BYTES
    assert set(text.splitlines()) == {line[:-1], "last"}
