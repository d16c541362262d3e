"""What pages are served with is what its authors published."""

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STATIC = files("watchkeeper.http").joinpath("static")
VENDORED = json.loads(STATIC.joinpath("vendor.json").read_text())


@pytest.mark.parametrize("one", VENDORED, ids=lambda one: one["file"])
def test_a_vendored_file_has_the_bytes_that_were_written_down(one):
    body = STATIC.joinpath(one["file"]).read_bytes()
    assert hashlib.sha256(body).hexdigest() == one["sha256"]


def test_every_minified_file_is_written_down_with_its_licence():
    minified = {path.name for path in STATIC.iterdir() if ".min." in path.name}
    told = {one["file"] for one in VENDORED}
    assert minified <= told
    for one in VENDORED:
        stem = one["file"].split(".")[0]
        assert f"{stem}.LICENSE.txt" in told


def test_versions_are_those_that_the_script_fetches():
    script = (ROOT / "tools" / "vendor.sh").read_text()
    wanted = set(re.findall(r'"(\S+) (\d+\.\d+\.\d+) (\S+) sha512-', script))
    assert wanted == {(one["package"], one["version"], one["licence"]) for one in VENDORED}
