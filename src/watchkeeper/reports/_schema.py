"""The JSON Schema of report.json. Fields may be added within a version; none goes."""

from __future__ import annotations

from typing import Any

from watchkeeper.model import STATES, Outcome, Phase
from watchkeeper.reports._timeline import KINDS

TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
NUMBER = {"type": "number"}
TIME = {"type": "string", "format": "date-time"}
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
HEALTH = {"type": ["number", "null"], "minimum": 0, "maximum": 100}
STATE = {"enum": [str(one) for one in STATES]}
DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$"}


def schema(name: str, dialect: str) -> dict[str, Any]:
    """Return the schema. :param name: of the documents. :param dialect: of JSON Schema."""
    fields = {
        "schema": {"const": name},
        "verdict": TEXT,
        "run": _run(),
        "states": _object({str(state): COUNT for state in STATES}),
        "entities": _list(_entity()),
        "incident_count": COUNT,
        "decision_count": COUNT,
        "outcomes": {"type": "object", "additionalProperties": COUNT},
        "decisions": _list(_decision()),
        "timeline": _list(
            _object({"time": TIME, "kind": {"enum": list(KINDS)}, "what": TEXT, "about": TEXT})
        ),
        "quarantine": _list(_object({"reason": TEXT, "count": COUNT, "examples": _list(TEXT)})),
    }
    return {"$schema": dialect, "title": name, **_object(fields)}


def _run() -> dict[str, Any]:
    counts = ("offered", "accepted", "rejected", "scored", "duplicate", "late")
    return _object(
        {
            "title": TEXT,
            "scope": TEXT,
            "since": TIME,
            "until": TIME,
            "digest": TEXT,
            "versions": _list(_object({"name": TEXT, "version": TEXT})),
            "inputs": _list(_object({"name": TEXT, "size": COUNT, "sha256": DIGEST})),
            "problems": _list(TEXT),
            "counts": _object(dict.fromkeys(counts, COUNT)),
        }
    )


def _entity() -> dict[str, Any]:
    return _object(
        {
            "entity": TEXT,
            "state": STATE,
            "health": HEALTH,
            "time": TIME,
            "coverage": SHARE,
            "score": NUMBER,
            "since": _or_null(TIME),
            "worst": _worst(),
            "lead": TEXT,
            "contributions": _list(_signal()),
            "incident_count": COUNT,
            "incidents": _list(
                _object(
                    {
                        "start": TIME,
                        "end": _or_null(TIME),
                        "state": STATE,
                        "worst": _worst(),
                        "signals": _list(_signal()),
                        "decisions": _list(TEXT),
                    }
                )
            ),
            "decision_count": COUNT,
            "line": _list({"type": "array", "prefixItems": [TIME, HEALTH], "minItems": 2}),
        }
    )


def _decision() -> dict[str, Any]:
    return _object(
        {
            "key": TEXT,
            "policy": TEXT,
            "version": TEXT,
            "entity": TEXT,
            "phase": {"enum": [str(one) for one in Phase]},
            "time": TIME,
            "severity": TEXT,
            "health": HEALTH,
            "reason": TEXT,
            "outcome": {"enum": [str(one) for one in Outcome]},
            "trace": {},
        }
    )


def _signal() -> dict[str, Any]:
    band = ("value", "expected", "lower", "upper", "score")
    said = {name: _or_null(NUMBER) for name in band}
    return _object({"metric": TEXT, "attributes": TEXT, "share": SHARE, **said})


def _worst() -> dict[str, Any]:
    return _object({"health": HEALTH, "time": TIME})


def _object(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(fields), "properties": fields}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _or_null(kind: dict[str, Any]) -> dict[str, Any]:
    return {**kind, "type": [kind["type"], "null"]}
