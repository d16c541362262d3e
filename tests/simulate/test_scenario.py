from pathlib import Path

import pytest

from watchkeeper.errors import ConfigError
from watchkeeper.simulate import PRESETS, Fleet, parse, preset, read

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_can_be_simulated(path):
    fleet = Fleet(read(path), 1)
    assert fleet.ticks > 0


def test_there_are_examples():
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_scenario_survives_being_written_down(path):
    scenario = read(path)
    assert parse(scenario.model_dump(mode="json", exclude_unset=True), "again") == scenario


@pytest.mark.parametrize("name", PRESETS)
def test_presets_take_hosts_duration_and_interval(name):
    scenario = preset(name, hosts=7, duration="6h", interval="30s")
    assert (scenario.entities.count, scenario.ticks) == (7, 720)


def test_the_fleet_preset_is_two_hundred_hosts_of_thirty_series_for_a_day():
    fleet = Fleet(preset("fleet"), 0)
    assert fleet.ticks * fleet.keys.num_rows == 8_640_000
    assert len({fault.kind for fault in fleet.scenario.faults}) == 17
    assert not preset("quiet").faults


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ConfigError, match="fleet, small, quiet"):
        preset("big")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "valid dictionary"),
        ({"hosts": 3}, "hosts: Extra inputs"),
        ({"duration": "soon"}, "'soon' is not a duration"),
        ({"interval": 60}, "60 is not a duration"),
        ({"duration": "30s"}, "shorter than one interval"),
        ({"start": "2026-01-01"}, "start: "),
        ({"metrics": ["system.cpu"]}, r"unknown metrics \['system.cpu'\]"),
        ({"entities": {"count": 0}}, "entities.count"),
        ({"faults": [{"kind": "gremlin"}]}, "faults.0"),
        ({"faults": [{"kind": "nic_errors", "oom_after": "1h"}]}, "nic_errors.oom_after: Extra"),
        ({"faults": [{"kind": "nic_errors", "onset": "2d"}]}, "onset is after the end"),
        ({"faults": [{"kind": "nic_errors", "count": 99}]}, "the fleet has 12 hosts in 1 racks"),
        ({"faults": [{"kind": "nic_errors", "count": 1, "racks": 1}]}, "only one of"),
        ({"faults": [{"kind": "nic_errors", "entities": ["host:x"]}]}, "no such entities"),
        (
            {"faults": [{"kind": "disk_fill", "growth": "exponential", "logrotate": 0.1}]},
            "linear growth only",
        ),
        ({"faults": [{"kind": "stuck_sensor", "signal": "warp"}]}, "no signal 'warp'"),
        ({"faults": [{"kind": "bad_sensor", "mode": "reset"}]}, "needs a counter"),
        (
            {"faults": [{"kind": "bad_sensor", "mode": "spikes", "signal": "errors"}]},
            "needs a gauge",
        ),
        (
            {"random": [{"fault": {"kind": "hot_day"}, "per_entity_day": 0.1}]},
            "strikes all, never one host",
        ),
        (
            {"random": [{"fault": {"kind": "nic_errors", "count": 2}, "per_entity_day": 0.1}]},
            "are drawn",
        ),
    ],
)
def test_a_mistake_in_a_scenario_is_named_with_its_place(document, said):
    with pytest.raises(ConfigError, match=said):
        parse(document, "my.yaml")


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(ConfigError, match=r"my.yaml: interval: .*; seed: Extra"):
        parse({"interval": "0s", "seed": 3}, "my.yaml")


def test_a_file_that_is_missing_or_no_yaml_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("entities: [")
    with pytest.raises(ConfigError, match="not YAML"):
        read(broken)
    broken.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="not YAML"):
        read(broken)
