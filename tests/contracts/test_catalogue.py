"""What a contract file may say, and what it may not."""

import json

import pytest
from pydantic import ValidationError

from watchkeeper.contracts import Contract, contract_names, read


def document(**more):
    return {"name": "host", "version": 2, "entities": ["host"], **more}


def metric(**more):
    return {"name": "m", **more}


def errors(**more):
    with pytest.raises(ValidationError) as caught:
        read(document(**more), "contract.yaml")
    return [(error["loc"], error["msg"]) for error in caught.value.errors()]


def test_all_mistakes_are_reported_at_once():
    found = errors(
        closed="maybe",
        colour="blue",
        metrics=[metric(low=1, high=0), metric(kind="histogram"), metric(warn=1)],
    )
    assert {place[:3:2] if place[0] == "metrics" else place for place, _ in found} >= {
        ("closed",),
        ("colour",),
    }
    assert {place[1] for place, _ in found if place[0] == "metrics"} == {0, 1, 2}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"low": 5, "high": 5}, "low 5 must be less than high 5"),
        ({"low": float("nan")}, "finite number"),
        ({"warn": 1}, "need a direction"),
        ({"crit": 1, "worse": "both"}, "need a direction"),
        ({"warn": 2, "crit": 1, "worse": "high"}, "crit must be higher than warn"),
        ({"warn": 1, "crit": 2, "worse": "low"}, "crit must be lower than warn"),
        ({"aliases": [{"name": "n", "scale": 0}]}, "a scale of 0"),
        ({"max_age": "soon"}, "a duration is written like"),
        ({"max_age": 600}, "a duration is written like"),
        ({"max_age": "0s"}, "greater than 0"),
        ({"unit": ""}, "at least 1 character"),
        ({"name": ""}, "at least 1 character"),
        ({"upcasts": [{"name": "old", "version": 2}]}, "an upcast comes from a version before 2"),
    ],
)
def test_a_metric_that_contradicts_itself_is_refused(more, says):
    assert says in errors(metrics=[metric(**more)])[0][1]


def test_one_spelling_cannot_stand_for_two_metrics():
    twice = [metric(name="a", aliases=[{"name": "x"}]), metric(name="b", aliases=[{"name": "x"}])]
    assert "x in 1 stands for both a and b" in errors(metrics=twice)[0][1]
    assert "stands for both a and a" in errors(metrics=[metric(name="a"), metric(name="a")])[0][1]


def test_the_same_name_with_other_attributes_or_units_is_no_contradiction():
    read(
        document(
            metrics=[
                metric(name="a", where={"mode": "idle"}),
                metric(name="a", aliases=[{"name": "a", "unit": "%", "scale": 0.01}]),
            ]
        ),
        "here",
    )


@pytest.mark.parametrize(
    ("text", "millis"),
    [("5ms", 5), ("30s", 30_000), ("10m", 600_000), ("1h30m", 5_400_000), ("1d", 86_400_000)],
)
def test_durations_are_prometheus_durations(text, millis):
    assert read(document(max_age=text), "here").max_age == millis


def test_a_contract_survives_the_rulebook():
    contract = read(
        document(
            max_age="1d",
            units=[{"unit": "%", "to": "1", "scale": 0.01}],
            metrics=[
                metric(
                    where={"mode": ["a", "b"]},
                    aliases=[{"name": "n", "attributes": {"x": "y"}, "add": {"k": "v"}}],
                    upcasts=[{"name": "old", "version": 1, "offset": -273.15}],
                    max_age="5m",
                )
            ],
        ),
        "here",
    )
    text = json.dumps(contract.model_dump(mode="json", by_alias=True))
    assert read(json.loads(text), "rulebook") == contract


def test_contracts_have_a_label_and_a_schema():
    assert contract_names([read(document(), "x")]) == ["host@2"]
    schema = Contract.model_json_schema()
    assert schema["properties"]["future_skew"]["type"] == "string"
