"""Every example in the documents is held to what reads it: no block of code goes unread.

What a block is, is seen from its language and its keys. One that is no configuration of ours is
marked in the line before it: `<!-- example: KIND -->`.
"""

import json
import re
import shlex
import subprocess
import textwrap
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from tests.test_docs import DOCUMENTS, ROOT

from watchkeeper import config, contracts, readiness
from watchkeeper.cli import program
from watchkeeper.config import _settings
from watchkeeper.simulate import scenario

BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*) -->\n+)?(?P<indent> *)```(?P<language>[^\n]*)\n"
    r"(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
SHOWN = ("text", "")  # what a command prints, drawings, formats
KEYS = set(_settings.Settings.model_fields)


class Example(NamedTuple):
    path: Path
    line: int
    mark: str
    language: str
    body: str

    def __str__(self):
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def examples():
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for found in BLOCK.finditer(text):
            line = text.count("\n", 0, found.start("body"))
            body = textwrap.dedent(found["body"])
            yield Example(path, line, found["mark"] or "", found["language"], body)


EXAMPLES = [one for one in examples() if one.language not in SHOWN]


def configuration(body, tmp_path):
    """Load it; what it lacks for that, and the secrets it names, are ours."""
    secret = tmp_path / "secret"
    secret.write_text("open-sesame")
    secret.chmod(0o600)
    body = re.sub(r"(_file): (?!\S*\$)\S+?(?=[\s,}])", rf"\1: {secret}", body)
    given = yaml.safe_load(body)
    before = [] if "version" in given else ["version: 1"]
    if "sources" in given and "flags" not in given:
        kinds = {f"source.{one['type']}: true" for one in given["sources"]}
        before.append(f"flags: {{{', '.join(sorted(kinds))}}}")
    if "sources" in given and "packs" not in given:
        before.append("packs: [link@1, host@1, generic@1]")
    if "policies" in given and "actions" not in given:
        used = sorted({name for one in given["policies"] for name in one.get("action", ())})
        rows = [f"  {name}: {{type: webhook, url: 'http://127.0.0.1:1/'}}" for name in used]
        before += ["actions:", *rows] if used else []
    file = tmp_path / "watchkeeper.yaml"
    file.write_text("\n".join([*before, body]))
    variables = re.findall(r"\$\{(\w+)\}", body)
    config.load([file], dict.fromkeys(variables, "open-sesame"))


def contract(body, _):
    contracts.read(yaml.safe_load(body), "example")


def simulated(body, tmp_path):
    file = tmp_path / "scenario.yaml"
    file.write_text(body)
    scenario.read(file)


def waivers(body, tmp_path):
    file = tmp_path / "waivers.yaml"
    file.write_text(body)
    readiness.read_waivers(file)


def prometheus(body, tmp_path):
    file = tmp_path / "prometheus.yml"
    file.write_text(body)
    subprocess.run(["promtool", "check", "config", "--syntax-only", file], check=True)


def alertmanager(body, tmp_path):
    file = tmp_path / "alertmanager.yml"
    file.write_text(body)
    subprocess.run(["amtool", "check-config", file], check=True)


def kustomization(body, _):
    told = yaml.safe_load(body)
    assert (told["kind"], told["apiVersion"]) == (
        "Kustomization",
        "kustomize.config.k8s.io/v1beta1",
    )
    base = yaml.safe_load((ROOT / "deploy/kubernetes/kustomization.yaml").read_text("utf-8"))
    place = told["resources"][0].rpartition("//")[2].partition("?")[0]
    assert (ROOT / place / "kustomization.yaml").exists()
    deployed = (ROOT / "deploy/kubernetes").glob("*.yaml")
    images = {
        found for one in deployed for found in re.findall(r"image: ([^:@\s]+)", one.read_text())
    }
    assert {one["name"] for one in told["images"]} <= images
    assert base["kind"] == told["kind"]


def defaults(body, _):
    assert body == _settings.DEFAULTS


MARKS = {
    "defaults": defaults,
    "example: contract": contract,
    "example: scenario": simulated,
    "example: waivers": waivers,
    "example: prometheus": prometheus,
    "example: alertmanager": alertmanager,
    "example: kustomization": kustomization,
}


def as_yaml(one, tmp_path):
    if one.mark in MARKS:
        MARKS[one.mark](one.body, tmp_path)
        return
    assert yaml.safe_load(one.body).keys() <= KEYS, "mark what is no configuration of ours"
    configuration(one.body, tmp_path)


def as_json(one, _):
    for line in one.body.splitlines():
        json.loads(line)


def as_toml(one, _):
    tomllib.loads(one.body)


def as_python(one, _):
    compile(one.body, str(one), "exec")


def as_shell(one, _):
    """Read by the shell; each command of ours is known, with all its options."""
    subprocess.run(["bash", "-n"], input=one.body.encode(), check=True)
    whole = re.sub(r"\\\n\s*", " ", one.body)
    for line in whole.splitlines():
        words = shlex.split(line, comments=True)
        words = words[: next((n for n, one in enumerate(words) if ENDS.match(one)), len(words))]
        if words[:1] == ["watchkeeper"] and words[1:] != ["--version"]:
            known(words[1:])


ENDS = re.compile(r"\d?>|\||&|;")  # where the words of a command end


def known(words):
    program().parse_args(words, exit_on_error=False, print_error=False)


READ = {
    "yaml": as_yaml,
    "json": as_json,
    "toml": as_toml,
    "python": as_python,
    "sh": as_shell,
    "sh drill": as_shell,
}


@pytest.mark.parametrize("one", EXAMPLES, ids=str)
def test_every_example_is_one_that_its_reader_takes(one, tmp_path, monkeypatch):
    for name in re.findall(r"secret: systemd, path: ([\w-]+)", one.body):
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        (tmp_path / name).write_text("open-sesame")
    assert one.language in READ, f"{one}: nothing reads {one.language!r}"
    READ[one.language](one, tmp_path)


def test_no_block_of_code_goes_unseen():
    for path in DOCUMENTS:
        fences = re.findall(r"^ *```", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == 2 * sum(one.path == path for one in examples()), path


def test_an_option_that_there_is_not_is_found():
    with pytest.raises(Exception, match="--colour"):
        known(["run", "--colour", "red"])
    with pytest.raises(AssertionError, match="mark what is no configuration"):
        as_yaml(Example(ROOT, 1, "", "yaml", "rows: []"), None)
