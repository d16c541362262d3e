"""What `watchkeeper doctor` sees, and what it says to do about it."""

import json
import os

import pytest

from watchkeeper.cli import call, doctor


def row(what, data):
    return next(row for row in doctor.diagnose(data) if row.what == what)


def test_a_sound_machine_is_told_so(tmp_path, capsys):
    assert call(["doctor", "--data", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("ok   watchkeeper")
    assert f"ok   data folder         {tmp_path}" in out


def test_programs_read_the_same_rows(tmp_path, capsys):
    assert call(["doctor", "--data", str(tmp_path), "--output", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["ok"] is True
    assert {"what", "verdict", "found", "hint"} == set(facts["rows"][0])
    assert all(row["hint"] for row in facts["rows"] if row["verdict"] != "ok")


def test_a_folder_still_to_be_made_is_fine(tmp_path):
    found = row("data folder", tmp_path / "new" / "deeper")
    assert (found.verdict, found.found) == (
        "ok",
        f"{tmp_path}/new/deeper will be made at the first start",
    )
    assert row("disk space", tmp_path / "new").verdict in ("ok", "warn", "fail")


def test_a_file_in_place_of_the_data_folder_fails(tmp_path, capsys):
    (tmp_path / "data").write_text("")
    assert row("data folder", tmp_path / "data").verdict == "fail"
    assert call(["doctor", "--data", str(tmp_path / "data")]) == 1
    assert "chown" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_writable", lambda folder: False)
    assert row("data folder", tmp_path).verdict == "fail"
    assert row("data folder", tmp_path / "new").hint.startswith("make it and give it")
    cache = row("kernel cache", tmp_path)
    assert cache.verdict == "warn"
    assert "NUMBA_CACHE_DIR" in cache.hint


@pytest.mark.parametrize("folder", ["/proc", "/nonexistent"])
def test_writing_is_tried_and_not_guessed(folder):
    assert not doctor._writable(doctor.Path(folder))


def test_a_signing_key_that_others_can_read_fails(tmp_path):
    (tmp_path / "keys").mkdir()
    key = tmp_path / "keys" / "ledger.key"
    key.touch(0o600)
    assert row("data folder", tmp_path).verdict == "ok"
    key.chmod(0o640)
    found = row("data folder", tmp_path)
    assert (found.verdict, found.hint) == ("fail", f"chmod 600 {key}")


def test_a_data_folder_open_to_everybody_fails(tmp_path):
    tmp_path.chmod(0o777)
    assert row("data folder", tmp_path).hint == f"chmod o-w {tmp_path}"


@pytest.mark.parametrize(
    ("free", "verdict"), [(50 << 30, "ok"), (2 << 30, "warn"), (100 << 20, "fail")]
)
def test_space_is_judged_by_what_is_left(free, verdict, tmp_path, monkeypatch):
    usage = doctor.shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    found = row("disk space", tmp_path)
    assert found.verdict == verdict
    assert bool(found.hint) == (verdict != "ok")


@pytest.mark.parametrize(("time", "verdict"), [(0, "fail"), (1_900_000_000_000, "ok")])
def test_a_clock_that_is_far_off_fails(time, verdict, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "now", lambda: time)
    assert row("clock", tmp_path).verdict == verdict


def test_an_old_sqlite_is_warned_of(tmp_path, monkeypatch):
    import apsw

    assert row("sqlite", tmp_path).verdict == "ok"
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    assert "3.51.3" in row("sqlite", tmp_path).hint


def test_another_processor_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.platform, "machine", lambda: "aarch64")
    assert row("machine", tmp_path).verdict == "warn"


def test_a_python_without_assertions_is_warned_of(tmp_path, monkeypatch):
    flags = type("Flags", (), {"optimize": 1})
    monkeypatch.setattr(doctor.sys, "flags", flags)
    assert "without -O" in row("python", tmp_path).hint


def test_tools_are_optional(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    assert row("optional: duckdb", tmp_path).verdict == "ok"
    assert "not installed" in row("optional: duckdb", tmp_path).found
