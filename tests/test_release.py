"""What a release says of itself agrees, and its tools judge as their documents say."""

import json
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tools.release import audit

from watchkeeper import __version__

ROOT = Path(__file__).parents[1]
TODAY = date(2026, 11, 28)


def ran(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_tag_on_this_commit_is_its_version():
    tags = ran("git", "tag", "--points-at", "HEAD").split()
    assert all(tag == f"v{__version__}" for tag in tags if tag.startswith("v"))


def test_an_image_that_was_built_is_labelled_with_the_version():
    containerfile = (ROOT / "deploy/container/Containerfile").read_text(encoding="utf-8")
    assert 'image.version="${VERSION}"' in containerfile
    layout = ROOT / "dist" / "image"
    if not (layout / "index.json").exists():
        return  # `make image` runs before the tests where images are built

    def blob(digest: str) -> dict:
        return json.loads((layout / "blobs" / Path(*digest.split(":"))).read_text("utf-8"))

    manifest = blob(json.loads((layout / "index.json").read_text())["manifests"][0]["digest"])
    labels = blob(manifest["config"]["digest"])["config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__


def test_the_pipelines_are_made_from_the_list_of_stages():
    ran(sys.executable, "tools/pipelines.py", "--check")


def test_every_stage_is_a_target_of_make():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    rows = (ROOT / ".ci" / "stages.txt").read_text(encoding="utf-8").splitlines()
    commands = [row.split("|")[1].split() for row in rows if row and not row.startswith("#")]
    assert all(command[0] == "make" and command[1] in targets for command in commands)


def exception(**changed):
    told = {
        "id": "CVE-1",
        "package": "p",
        "reason": "never called",
        "owner": "someone",
        "status": "not_affected",
        "expires": TODAY + timedelta(days=30),
    }
    return {name: value for name, value in {**told, **changed}.items() if value is not None}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (exception(), None),
        (exception(id="GHSA-1"), None),
        (exception(expires=TODAY - timedelta(days=1)), "expired"),
        (exception(expires=TODAY + timedelta(days=91)), "lasts longer"),
        (exception(id="CVE-2"), "matches nothing"),
        (exception(package="q"), "matches nothing"),
        (exception(owner=None), "lacks owner"),
        (exception(status="fine"), "status is one of"),
    ],
)
def test_an_exception_holds_while_it_is_whole_timely_and_about_something(given, said):
    found = {("p", "PYSEC-1", "CVE-1", "GHSA-1")}
    wrong = audit.judge(found, [given], TODAY)
    assert (said is None) == (not wrong)
    assert said is None or said in wrong[0]


def test_an_advisory_without_an_exception_stands():
    assert audit.judge({("p", "PYSEC-1", "CVE-1")}, [], TODAY) == ["p: PYSEC-1 = CVE-1"]


@contextmanager
def index(**projects):
    """An index on loopback: of each project its newest version, and what stands against that."""

    class Index(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.split("/")[1]
            version, *numbers = projects.get(name, ("",))
            vulns = [{"id": one, "aliases": [], "withdrawn": None} for one in numbers]
            told = {"info": {"version": version}, "vulnerabilities": vulns}
            body = json.dumps(told).encode()
            self.send_response(200 if version else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


BAD = ("2.6.1", "PYSEC-2018-97")


@pytest.mark.parametrize(
    ("projects", "outcome", "looked_up", "said"),
    [
        ({"pycrypto": BAD, "a": ("1.0",), "b": ("2.0",)}, "clean", 2, ""),
        ({"pycrypto": BAD, "a": ("1.0", "PYSEC-9"), "b": ("2.0",)}, "vulnerable", 2, "a: PYSEC-9"),
        ({"pycrypto": BAD, "a": ("1.1",), "b": ("2.0",)}, "unavailable", 1, "1 of 2 packages: a"),
        ({"pycrypto": BAD, "b": ("2.0",)}, "unavailable", 1, "1 of 2 packages: a"),
        ({"pycrypto": ("2.6.1",), "a": ("1.0",), "b": ("2.0",)}, "unavailable", 0, "2 of 2"),
    ],
    ids=["newest", "advisory", "not the newest", "unknown", "an index that knows nothing"],
)
def test_of_projects_only_the_newest_release_is_known(
    projects, outcome, looked_up, said, tmp_path, monkeypatch
):
    lock = tmp_path / "lock"
    lock.write_text("a==1.0 \\\n    --hash=sha256:0\nb==2.0 \\\n    --hash=sha256:0\n")
    skipped = [{"name": name, "skip_reason": "not found"} for name in "ab"]
    monkeypatch.setattr(audit, "_asked", lambda _lock, _service: skipped)
    with index(**projects) as at:
        verdict = audit.audit(lock, {}, TODAY, (), at)
    assert (verdict.outcome, verdict.looked_up) == (outcome, looked_up)
    assert said in "".join(verdict.why)


UNKNOWN = {
    "package": "a",
    "version": "1.0",
    "reason": "why",
    "owner": "who",
    "expires": TODAY + timedelta(days=30),
}


@pytest.mark.parametrize(
    ("change", "newest", "outcome", "said"),
    [
        ({}, ("1.1",), "clean", "a 1.0 was not looked up; lived with until"),
        ({}, ("1.0",), "clean", ""),
        ({}, ("1.0", "PYSEC-9"), "vulnerable", "a: PYSEC-9"),
        ({"version": "0.9"}, ("1.1",), "unavailable", "1 of 2 packages: a"),
        ({"package": "b"}, ("1.1",), "unavailable", "1 of 2 packages: a"),
        ({"expires": TODAY - timedelta(days=1)}, ("1.1",), "unavailable", "1 of 2 packages: a"),
        ({"expires": TODAY + timedelta(days=91)}, ("1.1",), "unavailable", "1 of 2 packages: a"),
    ],
    ids=["lived with", "looked up", "advisory", "version", "package", "expired", "too long"],
)
def test_a_package_that_nobody_knows_is_lived_with_for_a_time_and_named(
    change, newest, outcome, said, tmp_path, monkeypatch
):
    lock = tmp_path / "lock"
    lock.write_text("a==1.0 \\\n    --hash=sha256:0\nb==2.0 \\\n    --hash=sha256:0\n")
    skipped = [{"name": name, "skip_reason": "not found"} for name in "ab"]
    monkeypatch.setattr(audit, "_asked", lambda _lock, _service: skipped)
    with index(pycrypto=BAD, a=newest, b=("2.0",)) as at:
        verdict = audit.audit(lock, {"unknown": [UNKNOWN | change]}, TODAY, (), at)
    assert verdict.outcome == outcome
    assert said in "".join(verdict.why)
    assert bool(verdict.why) == bool(said)


def test_environments_are_built_from_hashes_alone():
    for script in ("tools/environment.sh", "tools/package.sh"):
        text = (ROOT / script).read_text(encoding="utf-8")
        locked = [
            line
            for line in text.splitlines()
            if " install " in line and "lock" in line and line[0] != "#"
        ]
        assert locked
        assert all("--require-hashes" in line and "--no-deps" in line for line in locked), locked
    for lock in ROOT.glob("requirements*.lock"):
        text = lock.read_text(encoding="utf-8")
        pins = re.findall(r"^\S+==\S+.*$", text, re.MULTILINE)
        assert pins
        assert all(pin.endswith("\\") for pin in pins), lock.name  # its hashes follow


def test_every_threat_names_a_control_and_a_test_that_exists():
    text = (ROOT / "docs/security/threat-model.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (B\d) ([STRIDE]) \|([^|]+)\|([^|]+)\|([^|]+)\|$", text, re.MULTILINE)
    assert {line for line, *_ in rows} == set(re.findall(r"\bB\d\b", text))
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for line, kind, threat, control, tests in rows:
        assert control.strip(), threat
        named = re.findall(r"`([^`]+)`", tests)
        assert named, f"{line} {kind}:{threat}has no test"
        for name in named:
            if name.startswith("make "):
                assert name.removeprefix("make ") in targets, name
                continue
            path, _, test = name.partition("::")
            source = (ROOT / path).read_text(encoding="utf-8")
            assert not test or re.search(rf"^def {test}\(", source, re.MULTILINE), name
