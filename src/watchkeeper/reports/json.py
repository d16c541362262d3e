"""The findings for programs: one canonical JSON document, schema `watchkeeper.report/1`.

Times are RFC 3339 in UTC, shares and coverage 0..1, health 0..100 or null when unknown. Fields may
be added within a version of the schema; none changes its meaning or goes. `docs/reports.md` lists
them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from watchkeeper.model import Decision, canonical
from watchkeeper.reports._findings import Entity, Findings, Incident, Signal
from watchkeeper.reports._words import rfc3339, verdict

SCHEMA = "watchkeeper.report/1"


@dataclass(frozen=True)
class Json:
    """Canonical JSON in UTF-8, with a newline at the end."""

    file: ClassVar[str] = "report.json"
    media: ClassVar[str] = "application/json"

    def render(self, findings: Findings) -> bytes:
        """Return the document."""
        return (canonical(document(findings)) + "\n").encode("utf-8", "replace")


def document(findings: Findings) -> dict[str, Any]:
    """Return the whole document as plain values."""
    facts = findings.facts
    counts = facts.counts
    return {
        "schema": SCHEMA,
        "verdict": verdict(findings),
        "run": {
            "title": facts.title,
            "scope": facts.scope,
            "since": rfc3339(facts.since),
            "until": rfc3339(facts.until),
            "digest": facts.digest,
            "versions": [{"name": name, "version": said} for name, said in facts.versions],
            "inputs": [{"name": i.name, "size": i.size, "sha256": i.sha256} for i in facts.inputs],
            "problems": list(facts.problems),
            "counts": {
                "offered": facts.offered,
                "accepted": counts.accepted,
                "rejected": counts.rejected,
                "scored": counts.scored,
                "duplicate": counts.duplicate,
                "late": counts.late,
            },
        },
        "states": {str(state): count for state, count in findings.states},
        "entities": [entity_document(entity) for entity in findings.entities],
        "incident_count": findings.incident_count,
        "decision_count": findings.decision_count,
        "outcomes": dict(findings.outcomes),
        "decisions": [decision_document(decision) for decision in findings.decisions],
        "timeline": [
            {"time": rfc3339(one.at), "kind": one.kind, "what": one.what, "about": one.about}
            for one in findings.timeline
        ],
        "quarantine": [
            {"reason": q.reason, "count": q.count, "examples": list(q.examples)}
            for q in findings.quarantine
        ],
    }


def entity_document(entity: Entity) -> dict[str, Any]:
    """Return one entity, as it stands in the document and in the API."""
    return {
        "entity": entity.name,
        "state": entity.state,
        "health": entity.health,
        "time": rfc3339(entity.at),
        "coverage": entity.coverage,
        "score": entity.score,
        "since": _time(entity.since),
        "worst": {"health": entity.worst, "time": rfc3339(entity.worst_at)},
        "lead": entity.lead,
        "contributions": [_signal(signal) for signal in entity.signals],
        "incident_count": entity.incident_count,
        "incidents": [_incident(incident) for incident in entity.incidents],
        "decision_count": entity.decision_count,
        "line": [
            [rfc3339(time), health]
            for time, health in zip(entity.line.time, entity.line.health, strict=True)
        ],
    }


def decision_document(decision: Decision) -> dict[str, Any]:
    """Return one decision with its trace, as it stands in the document and in the API."""
    return {
        "key": decision.key,
        "policy": decision.policy,
        "version": decision.version,
        "entity": decision.entity,
        "phase": decision.phase,
        "time": rfc3339(decision.at),
        "severity": decision.severity,
        "health": decision.health,
        "reason": decision.reason,
        "outcome": decision.outcome,
        "trace": _trace(decision.trace),
    }


def _incident(incident: Incident) -> dict[str, Any]:
    return {
        "start": rfc3339(incident.start),
        "end": _time(incident.end),
        "state": incident.state,
        "worst": {"health": incident.worst, "time": rfc3339(incident.worst_at)},
        "signals": [_signal(signal) for signal in incident.signals],
        "decisions": list(incident.decisions),
    }


def _signal(signal: Signal) -> dict[str, Any]:
    return {
        "metric": signal.metric,
        "attributes": signal.attributes,
        "share": signal.share,
        "value": signal.value,
        "expected": signal.expected,
        "lower": signal.lower,
        "upper": signal.upper,
        "score": signal.score,
    }


def _time(millis: int | None) -> str | None:
    return None if millis is None else rfc3339(millis)


def _trace(trace: str) -> Any:
    try:
        return json.loads(trace)
    except ValueError:
        return trace


plugin = Json
