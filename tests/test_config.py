"""Configurations: what loads, what is refused and how that reads, and the rulebook."""

import json
import re
import shutil
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from watchkeeper import config, errors, plugins
from watchkeeper.cli import CONFIGURATION, call
from watchkeeper.config import _layers, _problems, _schema, _settings, _units, _yaml
from watchkeeper.model import canonical, digest

CASES = Path(__file__).parent / "config"
ENV = {"PORT": "9000", "WORKERS": "1", "HOLD": "5m", "WORD": "many", "EMPTY": ""}
FAMILIES = ("receivers", "sources", "detectors", "health", "actions", "engines", "secrets")
BAD = sorted(path.name for path in CASES.glob("*.bad.yaml"))
GOOD = sorted(path.name for path in CASES.glob("*.good.yaml"))


@pytest.fixture
def here(monkeypatch):
    """Messages name files as they were given, so run where the files are."""
    monkeypatch.chdir(CASES)
    Path("receiver.secret").chmod(0o600)  # git keeps no more of a mode than "executable"


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def written(name, text):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
        return Path(name)

    return written


def refused(*paths, env=ENV):
    with pytest.raises(errors.ConfigError) as caught:
        config.load(paths, env)
    return str(caught.value)


@pytest.mark.parametrize("name", BAD)
def test_each_mistake_is_told_in_these_words(name, here):
    expected = Path(name.replace(".bad.yaml", ".bad.txt")).read_text()
    # A new source or field changes no file but its own, so the texts do not list them.
    expected = expected.replace("<sources>", ", ".join(plugins.kinds("sources")))
    expected = expected.replace("<fields>", ", ".join(sorted(_settings.Settings.model_fields)))
    assert refused(Path(name)) + "\n" == expected


def test_every_key_has_a_mistake_whose_words_are_known():
    """By the published schema: the top level, the limits, policies, and each type's fields."""
    schema = config.schema("config")
    found = "".join(path.read_text() for path in CASES.glob("*.bad.txt"))
    told = set(re.findall(r": ([a-z_]+)(?:\[\d+\]|\.mine|\.all)?\.?(\w*)", found))
    keys = {(name, "") for name in schema["properties"]}
    for section in _schema.SECTIONS:
        known = schema["properties"][section]["properties"]
        keys |= {(section, name) for name in known if not name.endswith("_file")}
    for listed in _schema.ROWS:
        known = schema["properties"][listed]["items"]["properties"]
        keys |= {(listed, name) for name in known if not name.endswith("_file")}
    policy = schema["properties"]["policies"]["items"]["anyOf"][1]
    keys |= {("policies", name) for name in policy["properties"]}
    assert keys <= told | {("policies", "name")}, keys - told
    for family, key in {**dict.fromkeys(FAMILIES), "engines": "engine"}.items():
        for plug in schema["$defs"][family]["oneOf"]:
            fields = {
                name.removesuffix("_file")
                if name.removesuffix("_file") in plug["properties"]
                else name
                for name in plug["properties"]
            }
            file = CASES / f"every_key_of_{key or family}_{plug['title']}.bad.txt"
            said = file.read_text() if fields != {"type"} else ""
            missing = [n for n in fields - {"type"} if not re.search(rf"\.{n}(\[0\])?: ", said)]
            assert not missing, f"{file.name}: run tools/every_key.py"
    assert {"type_missing.bad.yaml", "policy_without_name.bad.yaml"} <= set(BAD)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_configuration_loads_and_its_rulebook_survives_the_journal(name, here):
    loaded = config.load([Path(name)], ENV)
    document = json.loads(canonical(config.rulebook(loaded)))
    again = config.read_rulebook(document)
    assert again.digest == loaded.rules.digest == digest(document)
    assert again.health == loaded.rules.health
    assert again.contracts == loaded.rules.contracts
    assert again.policies == loaded.rules.policies
    assert again.ensemble == loaded.rules.ensemble
    assert again.tick == loaded.rules.tick


def test_every_field_arrives(here):
    loaded = config.load([Path("everything.good.yaml")], ENV)
    assert loaded.rules.tick == 5000
    assert loaded.data == Path("/var/lib/watchkeeper")
    assert loaded.listen == ("::1", 9000)
    assert str(loaded.listen) == "[::1]:9000"
    assert [one.label for one in loaded.rules.contracts] == ["generic@1"]
    assert [source.interval for source in loaded.sources] == [60.0]
    assert [type(one).__name__ for one in loaded.rules.ensemble.detectors] == ["Robust", "Bounds"]
    own = {policy.name: policy for policy in loaded.rules.policies}
    assert own["unhealthy"].hold == 300_000
    assert own["unhealthy"].mode == "auto"
    assert own["silent"].hold == 300_000  # from a file of its own, with ${HOLD}
    assert list(loaded.actions) == ["log", "receiver"]
    receiver = loaded.actions["receiver"]
    assert receiver.url.reveal() == "http://127.0.0.1:9/hooks/${id}"
    assert receiver.secret.reveal() == Path("receiver.secret").read_text().strip()
    assert receiver.timeout == 2.0
    assert loaded.engine.workers == 1
    assert loaded.files == (Path("everything.good.yaml"),)


def test_without_a_file_it_watches_this_host_on_loopback_only():
    loaded = config.default()
    assert loaded.listen == ("127.0.0.1", 8470)
    assert len(loaded.sources) == 1
    assert [one.label for one in loaded.rules.contracts] == ["host@1", "generic@1"]
    assert loaded.files == ()
    assert all(policy.mode == "dry_run" for policy in loaded.rules.policies)


def test_a_shipped_policy_is_switched_on_by_its_name(here):
    before = {policy.name: policy for policy in config.default().rules.policies}
    loaded = config.load([Path("pack_policy_switched_on.good.yaml")], ENV)
    after = {policy.name: policy for policy in loaded.rules.policies}
    assert list(after) == list(before)
    assert after["host-failing"].mode == "auto"
    assert after["host-failing"].when == before["host-failing"].when


def test_a_rulebook_tells_nothing_about_the_place_it_was_made_in(here, tmp_path):
    secret = "canary-5f2b"
    for name in ("everything.good.yaml", "more.policies.yaml"):
        shutil.copy(name, tmp_path / name)
    (tmp_path / "receiver.secret").write_text(secret)
    (tmp_path / "receiver.secret").chmod(0o600)
    one = config.load([Path("everything.good.yaml")], ENV)
    two = config.load([tmp_path / "everything.good.yaml"], ENV | {"PORT": "1", "WORKERS": "2"})
    assert canonical(config.rulebook(one)) == canonical(config.rulebook(two))
    text = canonical(config.rulebook(two))
    assert not [word for word in (secret, "/var/lib", "127.0.0.1", "::1") if word in text]


def test_a_rulebook_writes_every_default_out():
    document = config.rulebook(config.default())
    parts = {"contracts", "detectors", "health", "policies"}
    assert set(document) == {"schema", "tick_ms", "scores", *parts}
    for spec in document["detectors"]:
        plug = plugins.load("detectors", spec["type"])()
        assert spec["version"] == plug.version
        assert spec["state_version"] == plug.state_version
        assert all(spec[name] == getattr(plug, name) for name in spec if name != "type")
    assert document["health"]["type"] == "noisy_or"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 3}, "WK304 rulebook schema 3; this release reads 1 to 2"),
        ({"schema": None}, "WK304 rulebook schema None"),
        ({"scores": "md5"}, "WK304 rulebook: scores are hashed with 'md5'; this release knows"),
        ({"scores": None}, "WK304 rulebook: scores are hashed with None"),
    ],
)
def test_a_rulebook_of_another_schema_or_hash_is_refused(change, said):
    document = config.rulebook(config.default()) | change
    with pytest.raises(errors.StoreVersion) as caught:
        config.read_rulebook(document)
    assert str(caught.value).startswith(said)


def test_a_rulebook_of_another_version_of_a_method_is_refused():
    document = json.loads(canonical(config.rulebook(config.default())))
    document["detectors"][0]["version"] = 99
    with pytest.raises(errors.StoreVersion, match="'robust' has version 99; this release has"):
        config.read_rulebook(document)


def test_a_rulebook_whose_method_is_gone_is_refused():
    document = json.loads(canonical(config.rulebook(config.default())))
    document["detectors"][0]["type"] = "robusd"
    with pytest.raises(errors.UnknownKind, match="did you mean 'robust'"):
        config.read_rulebook(document)


def test_files_are_laid_over_one_another_in_order(write):
    write("site/10-base.yaml", "version: 1\ntick: 1s\nactions: {a: {type: log}}\npacks: [host@1]")
    write("site/20-more.yml", "actions: {b: {type: log}}\npacks: [generic@1]")
    write("site/notes.txt", "not: [yaml")
    last = write("last.yaml", "tick: 2s")
    loaded = config.load([Path("site"), last], {})
    assert loaded.rules.tick == 2000  # the last one wins
    assert list(loaded.actions) == ["log", "a", "b"]  # mappings merge
    assert loaded.packs == ("generic@1",)  # lists replace
    assert [path.name for path in loaded.files] == ["10-base.yaml", "20-more.yml", "last.yaml"]


def test_policies_of_several_files_merge_by_name(write):
    one = write(
        "one.yaml",
        "version: 1\npacks: [generic@1]\npolicies:\n"
        "  - {name: a, when: health < 1.0, for: 5m}\n  - {name: b, when: health < 2.0}\n",
    )
    two = write(
        "two.yaml",
        "policies:\n  - {name: c, when: health < 3.0}\n  - {name: a, when: health < 4.0}\n",
    )
    loaded = config.load([one, two], {})
    own = [policy for policy in loaded.rules.policies if policy.name in "abc"]
    assert [(policy.name, policy.when) for policy in own] == [
        ("a", "health < 4.0"),
        ("b", "health < 2.0"),
        ("c", "health < 3.0"),
    ]
    assert own[0].hold == 300_000


def test_another_type_takes_nothing_over_from_the_older_one(write):
    one = write(
        "one.yaml", "version: 1\nactions: {tell: {type: webhook, url: 'http://127.0.0.1:9'}}"
    )
    two = write("two.yaml", "actions: {tell: {type: log}}")
    assert type(config.load([one, two], {}).actions["tell"]).__name__ == "Log"


def test_mistakes_of_several_files_are_told_together(write):
    one = write("one.yaml", "version: 1\ntick: never\n")
    two = write("two.yaml", "a: [")
    three = write("three.yaml", "lisen: x\n")
    text = refused(one, two, three)
    assert "one.yaml:2:7: tick" in text
    assert "two.yaml:1:5: not valid YAML" in text
    assert "three.yaml:1:1: lisen: no such field" in text


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"version: 1\ndata: \xff\n", "WK100 x.yaml:2:1: not UTF-8 text (save the file as UTF-8)"),
        (b"#" * ((1 << 20) + 1), "WK100 x.yaml:1:1: larger than 1 MiB"),
        (b"%YAML 1.1\n---\nversion: 1\n", "WK100 x.yaml:2:1: only YAML 1.2 is read"),
        (b"version: 1\ndata: a\x00b\n", "WK100 x.yaml:1:1: not valid YAML: "),
        (b"? [1]\n: 2\n", "WK100 x.yaml:1:3: a key must be text"),
        (b"!!str version: 1\n", "WK100 x.yaml:1:1: tag tag:yaml.org,2002:str is not allowed"),
        (b'data: "\\ud800"\n', "WK100 x.yaml:1:7: half a character"),
        (b"", "WK100 x.yaml:1:1: version: is missing"),
        (b"- [" * 5000, "WK100 x.yaml:1:"),
    ],
)
def test_what_is_no_text_is_refused(raw, said, write):
    write("x.yaml", "").write_bytes(raw)
    assert refused(Path("x.yaml")).startswith(said)


def test_only_so_many_values_are_read(write, monkeypatch):
    assert _yaml.NODES_MAX == 100_000  # those take half a minute to read where coverage is measured
    monkeypatch.setattr(_yaml, "NODES_MAX", 1000)
    said = refused(write("x.yaml", "a:\n" + "- 1\n" * 1000))
    assert said.startswith("WK100 x.yaml:1000:3: more than 1,000 values")


def test_a_mark_of_byte_order_does_not_matter(write):
    path = write("x.yaml", "")
    path.write_bytes(b"\xef\xbb\xbfversion: 1\n")
    assert config.load([path], {}).rules.tick == 1000


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone.yaml", "WK100 gone.yaml:1:1: cannot read 'gone.yaml': No such file or directory"),
        ("empty", "WK100 empty:1:1: no *.yaml in this folder"),
    ],
)
def test_a_file_that_is_not_there_is_named(name, said, write):
    Path("empty").mkdir()
    assert refused(Path(name)) == said


def test_an_alias_stands_for_its_anchor(write):
    path = write("x.yaml", "version: 1\ntick: &t 5s\nsources: [{type: host, interval: *t}]\n")
    loaded = config.load([path], {})
    assert loaded.sources[0].interval == 5.0


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${PORT}", 9000),
        ("'${PORT}'", "9000"),
        ('"x${PORT}y"', "x9000y"),
        ("${EMPTY}", None),
        ("${EMPTY:-7}", 7),
        ("${GONE:-a: [b]}", "a: [b]"),
        ("${GONE:-}", None),
        ("a$${PORT}", "a${PORT}"),
        ("$PORT $", "$PORT $"),
        ("${PORT}${PORT}", 90009000),
    ],
)
def test_a_variable_stands_for_a_value_and_never_for_structure(written, value):
    found = []
    node = _yaml.parse(f"x: {written if ': [' not in written else repr(written)}", "f")
    assert _layers.substitute(node, ENV, found).data() == {"x": value}
    assert not found


def test_a_condition_is_never_changed_by_the_environment(write):
    path = write(
        "x.yaml",
        'version: 1\npolicies:\n  - name: p\n    when: name == "${PORT}"\n'
        "    description: ${PORT}!\n    clear: name != '${PORT}'\n",
    )
    policy = config.load([path], ENV).rules.policies[-1]
    assert policy.when == 'name == "${PORT}"'
    assert policy.clear == "name != '${PORT}'"
    assert policy.description == "9000!"


def test_nothing_from_the_environment_is_shown(write):
    path = write("x.yaml", "version: 1\ntick: ${S}\nlisten: ${S}\nengine: {type: '${S}'}\n")
    assert "canary" not in refused(path, env={"S": "canary-77"})


@pytest.mark.parametrize(
    ("text", "millis"),
    [("0", 0), ("30s", 30_000), ("1h30m", 5_400_000), ("1d", 86_400_000), ("5ms", 5),
     ("1m5ms", 60_005), ("2w", 1_209_600_000), ("1y", 31_536_000_000),
     ("", None), ("5", None), ("s", None), ("1.5h", None), ("30m1h", None), ("1h 30m", None),
     ("-1s", None), ("1M", None), ("9" * 40 + "s", None)],
)  # fmt: skip
def test_durations_are_written_as_in_prometheus(text, millis):
    assert _units.duration(text) == millis


@pytest.mark.parametrize(
    ("text", "count"),
    [("0B", 0), ("64MiB", 67_108_864), ("2GB", 2_000_000_000), ("1 KiB", 1024), ("1kB", 1000),
     ("1TiB", 1 << 40), ("64", None), ("MiB", None), ("1.5GB", None), ("1KB", None)],
)  # fmt: skip
def test_sizes_have_iec_and_si_units(text, count):
    assert _units.size(text) == count


def test_a_plug_is_built_from_a_plain_mapping():
    assert config.build("engines", {"type": "local", "workers": 1}).workers == 1
    with pytest.raises(errors.ConfigError, match=r"<engines>:1:1: engines\.wrkers: no such"):
        config.build("engines", {"type": "local", "wrkers": 1})


def test_a_plug_of_another_package_is_configured_like_our_own(monkeypatch, tmp_path):
    (tmp_path / "elsewhere.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\n"
        "class Everywhere:\n"
        '    """Runs.\n\n    :param room: bytes to use.\n    :param wait: seconds.\n    """\n'
        "    room: int\n    wait: float | None = None\n    workers: int = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("everywhere", "elsewhere:Everywhere", "watchkeeper.engines")
    ours = plugins._foreign
    monkeypatch.setattr(
        plugins, "_foreign", lambda f: {"everywhere": point} if f == "engines" else ours(f)
    )
    built = config.build("engines", {"type": "everywhere", "room": "64MiB", "wait": "1m"})
    assert (built.room, built.wait) == (67_108_864, 60.0)
    with pytest.raises(errors.ConfigError, match="must be bytes or a size such as 64MiB, got 'x'"):
        config.build("engines", {"type": "everywhere", "room": "x"})
    sys.modules.pop("elsewhere")


def load_yaml(path):
    return YAML(typ="safe", pure=True).load(path)


@pytest.mark.parametrize("name", GOOD)
def test_the_published_schema_accepts_what_loads(name):
    validator = jsonschema.Draft202012Validator(config.schema("config"))
    validator.validate(load_yaml(CASES / name))


@pytest.mark.parametrize(
    "name",
    ["unknown_field", "version_missing", "version_from_the_future", "unknown_type", "type_missing",
     "unknown_plug_field", "plug_field_missing", "plug_field_of_wrong_type", "number_as_text",
     "duration_unreadable", "policy_unknown_field", "policy_without_name", "no_detectors",
     "tick_without_unit", "listen_without_port"],
)  # fmt: skip
def test_the_published_schema_refuses_what_does_not_load(name):
    validator = jsonschema.Draft202012Validator(config.schema("config"))
    assert not validator.is_valid(load_yaml(CASES / f"{name}.bad.yaml"))


@pytest.mark.parametrize("document", ["config", "contract", "policy"])
def test_the_published_schemas_are_schemas(document):
    jsonschema.Draft202012Validator.check_schema(config.schema(document))


@pytest.mark.parametrize("pack", config.shipped_packs(), ids=lambda path: path.name)
def test_shipped_packs_hold_and_fit_the_published_schemas(pack):
    name, problems = config.survey_pack(pack)
    assert (name, problems) == (f"{pack.name}@1", ())
    contract = jsonschema.Draft202012Validator(config.schema("contract"))
    contract.validate(load_yaml(pack / "contract.yaml"))


def test_a_pack_of_ones_own_is_checked_and_used(write):
    write("mine/contract.yaml", "name: mine\nversion: 3\nentities: [toaster]\nclosed: false\n")
    write("mine/policies.yaml", "- {name: burnt, when: health < 50.0}\n")
    path = write("x.yaml", "version: 1\npacks: [./mine]\n")
    loaded = config.load([path], {})
    assert [one.label for one in loaded.rules.contracts] == ["mine@3"]
    assert [policy.name for policy in loaded.rules.policies] == ["burnt"]
    assert config.survey_pack(Path("mine")) == ("mine@3", ())


def test_mistakes_in_a_pack_have_their_place(write):
    write("mine/contract.yaml", "name: mine\nversion: 3\nentities: [toaster]\nclozed: false\n")
    write("mine/policies.yaml", "policies:\n  - {name: burnt, when: health < 50}\nextra: 1\n")
    _, problems = config.survey_pack(Path("mine"))
    assert [(str(one.place), one.path, one.code) for one in problems] == [
        ("mine/contract.yaml:4:1", "clozed", "WK102"),
        ("mine/policies.yaml:2:25", "policies[0].when", "WK103"),
        ("mine/policies.yaml:3:1", "extra", "WK103"),
    ]
    assert problems[0].hint.startswith("did you mean 'closed'?")


@pytest.mark.parametrize(
    ("text", "said"),
    [("just text", "must be a list of policies"), ("policies: 5", "must be a list of policies"),
     ("[5]", "must be a policy or the path of a file, got 5"),
     ("[{name: 5}]", "must be text, got 5")],
)  # fmt: skip
def test_a_policy_file_of_another_shape_is_refused(text, said, write):
    write("p.yaml", text)
    path = write("x.yaml", "version: 1\npolicies: [p.yaml]\n")
    assert said in refused(path)


def test_check_says_that_all_is_well(capsys, here):
    assert call(["check"]) == 0
    assert call(["check", "smallest.good.yaml"]) == 0
    out = capsys.readouterr().out
    assert "pack host@1: ok" in out
    assert "configuration the defaults: ok" in out
    assert "configuration smallest.good.yaml: ok" in out


def test_check_lists_every_mistake_for_programs_too(capsys, here):
    assert call(["check", "everything_at_once.bad.yaml", "--output", "json"]) == CONFIGURATION
    facts = json.loads(capsys.readouterr().out)
    assert facts["ok"] is False
    found = {problem["path"]: problem for problem in facts["checked"][0]["problems"]}
    assert found["tick"]["line"] == 2
    assert found["sources[0].intervall"]["hint"].startswith("did you mean 'interval'?")
    assert call(["check", "everything_at_once.bad.yaml"]) == CONFIGURATION
    assert "  WK100 everything_at_once.bad.yaml:2:7: tick: " in capsys.readouterr().out


def test_check_takes_a_pack(capsys, write):
    write("mine/contract.yaml", "name: mine\nversion: 3\nentities: [toaster]\n")
    assert call(["check", "mine"]) == 0
    assert capsys.readouterr().out == "pack mine@3: ok\n"


@pytest.mark.parametrize("document", ["config", "contract", "policy", "scenario"])
def test_schema_prints_a_schema(document, capsys):
    assert call(["schema", document]) == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))


PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.text(max_size=8),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)  # fmt: skip
TREES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=5), TREES, max_size=4))
def test_json_is_read_as_json_reads_it(tree):
    assert _yaml.parse(json.dumps(tree), "f").data() == tree


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=" -:[]{}'\"&*!|>%@`#,?\n\tab1${}", max_size=60))
def test_any_text_is_read_or_refused_with_its_place(text):
    try:
        _yaml.parse(text, "f")
    except _yaml.Broken as broken:
        place = broken.problem.place
    else:
        return
    assert place.file == "f"
    assert 1 <= place.line <= text.count("\n") + 1


@settings(max_examples=100, deadline=None)
@given(TREES)
def test_laying_a_file_over_itself_or_over_nothing_changes_nothing(tree):
    one, empty = _yaml.parse(json.dumps({"x": tree}), "f"), _yaml.parse("", "f")
    for merged in (_layers.merge(one, one), _layers.merge(one, empty), _layers.merge(empty, one)):
        assert merged.data() == {"x": tree}


def test_hints_name_the_fields_at_the_place(write):
    from watchkeeper.contracts import Contract

    assert "unit" in _problems.fields_at(Contract, ("metrics", 0))
    assert "scale" in _problems.fields_at(Contract, ("metrics", 0, "aliases", 3))
    assert _problems.fields_at(Contract, ("nowhere",)) == []
    assert _problems.fields_at(Contract, ("name",)) == []
