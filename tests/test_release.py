"""What a release says of itself agrees, and its tools judge as their documents say."""

import json
import re
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest
from tools.release import audit

from watchkeeper import __version__

ROOT = Path(__file__).parents[1]
TODAY = date(2026, 11, 28)


def ran(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def test_package_command_and_changelog_name_one_version():
    from importlib.metadata import version

    assert version("watchkeeper") == __version__
    assert ran(sys.executable, "-m", "watchkeeper", "--version").split() == [
        "watchkeeper",
        __version__,
    ]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+?),? ", changelog, re.MULTILINE)[0] == __version__


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
