"""A pack of evidence is proven from what is in it, and every change to it is seen."""

import contextlib
import io
import json
import random
import tarfile

import pytest
from tests.commands import wk
from tests.test_pipeline import ENGINE, START, Stores, drain, rules, telemetry

from watchkeeper import config, evidence
from watchkeeper.errors import InputError, NothingToRead, StoreError, VerifyError
from watchkeeper.evidence._archive import Writer
from watchkeeper.evidence._format import entries_body, entries_of
from watchkeeper.model import Millis


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A house in which one host went over its bound, and its data folder."""
    stores = Stores(tmp_path_factory.mktemp("evidence"), rules())
    telemetry(stores.begin())
    drain(stores.decider())
    yield stores
    stores.close()


def packed(house, since=None, until=None):
    file = io.BytesIO()
    key = evidence.private_key(house.folder / "keys" / "evidence.key")
    made = evidence.make(
        file, house.journal, house.ledger, config.read_rulebook, ENGINE, key,
        (since and Millis(since), until and Millis(until)),
    )  # fmt: skip
    return made, file.getvalue()


def checked(body, key=""):
    return evidence.check(io.BytesIO(body), config.read_rulebook, ENGINE, key)


def inside(body):
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar.getmembers()}


def test_a_pack_of_everything_begins_with_the_journal_and_trusts_nothing_else(house):
    made, body = packed(house)
    shown = checked(body, made.key)
    assert made.base is shown.base is None
    assert (shown.entries, shown.links) == (house.journal.head(), house.ledger.head().seq)
    assert shown.head == house.ledger.head().hash
    lines = [json.loads(line) for line in inside(body)["decisions.jsonl"].splitlines()]
    assert [one["key"] for one in reversed(lines)] == [
        one.key for one in house.ledger.decisions(limit=10_000)
    ]
    assert all(one["trace"] for one in lines)


def test_a_pack_of_a_window_begins_shortly_before_it_and_has_its_decisions_only(house):
    since, until = START + 32_000, START + 45_000
    made, body = packed(house, since, until)
    shown = checked(body, made.key)
    assert 0 < house.journal.head() - 40 < shown.base
    assert shown.entries < 25
    files = inside(body)
    lines = [json.loads(line) for line in files["decisions.jsonl"].splitlines()]
    wanted = [d.key for d in house.ledger.decisions(limit=10_000) if since <= d.at <= until]
    assert [one["key"] for one in reversed(lines)] == wanted != []
    (book,) = (json.loads(files[name]) for name in files if name.startswith("rulebooks/"))
    assert book == {"document": rules().document, "models": rules().models()}


def test_the_same_window_gives_the_same_bytes(house):
    assert packed(house, START + 32_000)[1] == packed(house, START + 32_000)[1]


def test_a_changed_byte_anywhere_is_refused_and_named(house):
    made, body = packed(house, START + 32_000, START + 45_000)
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        members = tar.getmembers()
    chosen = random.Random(7)
    places = [(chosen.randrange(len(body)), "") for _ in range(60)]
    places += [(one.offset_data + chosen.randrange(one.size), one.name) for one in members]
    places += [(one.offset + chosen.randrange(512), "at byte") for one in members]
    for place, name in places:
        changed = bytearray(body)
        changed[place] ^= 1 << chosen.randrange(8)
        for key in ("", made.key):
            with pytest.raises(VerifyError) as refused:
                checked(bytes(changed), key)
            assert name in str(refused.value) or "another key" in str(refused.value), place


@pytest.mark.parametrize("cut", [1, 512, 1024, 5_000])
def test_a_pack_that_is_cut_or_goes_on_is_refused(house, cut):
    _, body = packed(house, START + 40_000, START + 45_000)
    for changed in (body[:-cut], body + bytes(cut), b""):
        with pytest.raises(VerifyError):
            checked(changed)


def test_another_house_cannot_sign_for_this_one(house, tmp_path):
    _, body = packed(house, START + 40_000, START + 45_000)
    stranger = evidence.public_text(evidence.private_key(tmp_path / "evidence.key"))
    with pytest.raises(VerifyError, match="another key"):
        checked(body, stranger)
    with pytest.raises(InputError, match="no public key"):
        checked(body, "me")


def signed_anew(house, held, **said):
    """A pack of these files with the house's own signature, whatever they hold."""
    files = dict(held)
    text = files.pop("manifest.json")
    del files["manifest.sig"]
    out = Writer(again := io.BytesIO())
    for name, body in files.items():
        out.add(name, body)
    told = [{"name": m.name, "size": m.size, "sha256": m.sha256} for m in out.members]
    with contextlib.suppress(ValueError, TypeError):  # what is no document can be signed, too
        text = json.dumps({**json.loads(text), "files": told, **said}).encode()
    key = evidence.private_key(house.folder / "keys" / "evidence.key")
    out.add("manifest.json", text)
    out.add("manifest.sig", key.sign(text))
    out.end()
    return again.getvalue()


@pytest.mark.parametrize(
    ("name", "turn", "said"),
    [
        ("decisions.jsonl", lambda body: b"", "decisions.jsonl is not what follows"),
        ("chain/000001.jsonl", lambda body: body[: body.rindex(b"\n", 0, -1) + 1], "chain"),
        ("rulebooks/000001.json", lambda body: b"{}\n", "rulebooks"),
        ("journal/000001.arrow", None, "journal"),
    ],
)
def test_whoever_has_the_key_cannot_leave_out_what_the_entries_imply(house, name, turn, said):
    """The signature alone proves nothing: what is signed must also follow."""
    made, body = packed(house, START + 32_000, START + 45_000)
    files = inside(body)
    lacking = turn or (lambda body: entries_body(list(entries_of(body))[:-3]))
    files[name] = lacking(files[name])
    with pytest.raises(VerifyError, match=said):
        checked(signed_anew(house, files), made.key)


def test_nonsense_that_somebody_signed_is_refused_as_nonsense(house):
    """What a pack holds is read before anyone knows who signed it, so it may be anything."""
    _, body = packed(house, START + 32_000, START + 45_000)
    whole, chosen, shown = inside(body), random.Random(11), checked(body)
    true = (shown.head, shown.steps, shown.decisions)
    facts = json.loads(whole["manifest.json"])
    for name in [name for name in whole if name != "manifest.sig"] * 3:
        spoilt = bytearray(whole[name])
        for _ in range(chosen.choice((1, 3, 20))):
            spoilt[chosen.randrange(len(spoilt))] = chosen.choice(b'{}[]",:0-\x00\xffan')
        with contextlib.suppress(VerifyError):  # padding, and what is true all the same, may pass
            shown = checked(signed_anew(house, {**whole, name: bytes(spoilt)}))
            assert (shown.head, shown.steps, shown.decisions) == true
    for field in facts:
        for value in (None, -1, "x", [None], 2**70):
            if facts[field] != value and (field, value) != ("version", "x"):
                with pytest.raises(VerifyError):
                    checked(signed_anew(house, whole, **{field: value}))


def test_nothing_is_no_evidence(house):
    with pytest.raises(NothingToRead):
        packed(house, START + 9_000_000)


def test_the_key_is_made_once_and_for_its_owner_only(tmp_path):
    path = tmp_path / "keys" / "evidence.key"
    first = evidence.public_text(evidence.private_key(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["evidence.key"]
    assert evidence.public_text(evidence.private_key(path)) == first
    path.chmod(0o640)
    with pytest.raises(StoreError, match="others can read"):
        evidence.private_key(path)


def test_a_pack_is_made_by_one_command_and_proven_by_another(house, tmp_path, capsys):
    pack = tmp_path / "pack.tar"
    assert wk(
        "report", "--evidence", "--data", house.folder, "--from", START + 32_000,
        "--to", START + 45_000, "--out", pack,
    ) == 0  # fmt: skip
    said = capsys.readouterr()
    (line,) = [line for line in said.out.splitlines() if line.startswith("key")]
    key = line.split()[1]
    assert wk("verify", "--evidence", pack, "--key", key) == 0
    assert capsys.readouterr().out.startswith("proven: ")
    pack.write_bytes(pack.read_bytes()[:-1])
    assert wk("verify", "--evidence", pack, "--key", key, "--output", "json") == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
    assert wk("verify", "--evidence", tmp_path / "none.tar") == 1
    assert "WK204" in capsys.readouterr().err
    for wrong in ((), ("--out", pack, "--entity", "host:a")):
        assert wk("report", "--evidence", "--data", house.folder, *wrong) == 1
        assert "WK600" in capsys.readouterr().err
