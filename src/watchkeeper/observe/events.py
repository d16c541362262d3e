"""The log lines of the house: a closed list, and the schema that every line keeps to."""

from __future__ import annotations

from typing import Any, NamedTuple

from watchkeeper.observe import STAGES

DIALECT = "https://json-schema.org/draft/2020-12/schema"
LEVELS = ("debug", "info", "warning", "error")
FIELD_MAX = 1024  # bytes of one field


class Event(NamedTuple):
    """One kind of log line."""

    name: str
    level: str
    stage: str
    says: str
    fields: tuple[str, ...] = ()


EVENTS = (
    Event("starting", "info", "house", "the process has its configuration and its stores",
          ("version", "rulebook", "data")),
    Event("ready", "info", "house", "all is recovered; telemetry is taken in", ("address",)),
    Event("reloaded", "info", "house", "another configuration holds", ("rulebook",)),
    Event("reload_failed", "error", "house",
          "a configuration cannot be used; the one before it holds", ("error", "code")),
    Event("restart_needed", "warning", "house",
          "what changed in the configuration is taken up by a restart only", ("fields",)),
    Event("reload_waits", "error", "house",
          "the journal is full; the new configuration waits until there is room",
          ("error", "code")),
    Event("config_changed", "info", "house", "what a reload changes, value by value",
          ("difference",)),
    Event("config_change_unwritten", "error", "house",
          "what a reload changes could not be journalled", ("error", "code")),
    Event("config_drift", "warning", "house",
          "the configuration on the disk is another than the one that runs", ("difference",)),
    Event("secret_not_renewed", "warning", "house",
          "a secret could not be fetched again; the one before is used", ("secret", "error")),
    Event("openid_keys_failed", "warning", "house",
          "the keys of the identity provider could not be had; those before are used", ("error",)),
    Event("stopping", "info", "house", "the drain begins", ("reason",)),
    Event("stopped", "info", "house", "the drain is over and the stores are closed"),
    Event("stages_late", "error", "house", "stages did not finish within the drain's bound",
          ("stages",)),
    Event("stage_broke", "error", "house", "a mistake in the program ended a stage",
          ("thread", "error", "exception")),
    Event("stage_failed", "error", "house", "a stage cannot go on", ("thread", "error", "code")),
    Event("degraded", "error", "house", "the disk failed; nothing is taken in nor decided",
          ("error", "code")),
    Event("library_said", "warning", "house", "a library we use wrote a line of its own",
          ("logger", "detail", "exception")),
    Event("source_failed", "warning", "collect", "a source could not be asked; it is tried again",
          ("source", "error", "code")),
    Event("source_recovered", "info", "collect", "a source that failed answers again",
          ("source",)),
    Event("detector_off", "warning", "decide",
          "a detector is experimental, and no flag switched it on", ("detector", "detail")),
    Event("journal_full", "error", "ingest", "the journal takes no more; clients are asked to wait",
          ("error", "code")),
    Event("memory_short", "error", "ingest",
          "the budget of memory is spent; clients are asked to wait", ("held", "budget")),
    Event("memory_unfit", "warning", "ingest",
          "the budget asked for is more than is allowed here; a smaller one is used", ("detail",)),
    Event("time_stands_still", "error", "ingest",
          "the journal is full, and no heartbeat goes into it; no tick ends", ("error", "code")),
    Event("end_not_journalled", "error", "ingest", "the journal is full; the end is not in it",
          ("error", "code")),
    Event("request_broke", "error", "ingest", "a body broke its decoder: a mistake in the program",
          ("receiver", "exception")),
    Event("ledger_full", "error", "decide", "the ledger takes no more; deciding waits",
          ("error", "code")),
    Event("journal_cut", "info", "house",
          "retention removed the entries up to one; a base stands for them", ("entry",)),
    Event("retention_failed", "error", "house",
          "nothing is removed: a base or the disk is not well", ("error", "code")),
    Event("decided", "info", "decide", "a policy changed its phase for an entity",
          ("policy", "entity", "phase", "severity", "outcome", "reason", "health")),
    Event("decided_more", "info", "decide", "further decisions of the same step", ("count",)),
    Event("delivered", "info", "act", "an order was carried out",
          ("action", "entity", "order", "attempt", "detail")),
    Event("delivery_failed", "warning", "act", "an attempt failed; the order is tried again",
          ("action", "entity", "order", "attempt", "detail")),
    Event("delivery_given_up", "error", "act", "an order is not tried again",
          ("action", "entity", "order", "attempt", "outcome", "detail")),
    Event("objectives_unreadable", "warning", "house",
          "the file of our own error budgets cannot be read; they begin anew", ("error",)),
    Event("made", "info", "report", "a scheduled report or a day of history stands in its place",
          ("what", "until")),
    Event("not_made", "error", "report",
          "a scheduled report or a day of history cannot be made now; it is tried again",
          ("what", "error", "code")),
    Event("not_deleted", "warning", "report", "what is old could not be deleted", ("error",)),
    Event("export_failed", "warning", "house", "spans could not be sent and are lost",
          ("error", "count")),
)  # fmt: skip
BY_NAME = {event.name: event for event in EVENTS}

# What a field holds; all that is not named here is text.
_NUMBERS = {"attempt": "integer", "count": "integer", "entry": "integer", "health": "number"}
_LISTS = {"fields", "stages", "exception"}
_ALWAYS = ("time", "level", "event", "stage", "trace_id", "span_id")


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one log line."""
    names = sorted({name for event in EVENTS for name in event.fields})
    common: dict[str, Any] = {
        "time": {"type": "string", "format": "date-time", "description": "RFC 3339, UTC."},
        "level": {"enum": list(LEVELS)},
        "event": {"enum": [event.name for event in EVENTS], "description": "What happened."},
        "stage": {"enum": list(STAGES), "description": "Where in the flow."},
        "trace_id": {"type": "string", "pattern": "^[0-9a-f]{32}$",
                     "description": "The trace of what was worked on, else of this process."},
        "span_id": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
        "entry": {"type": "integer", "minimum": 1,
                  "description": "Offset of the journal entry that was worked on."},
    }  # fmt: skip
    return {
        "$schema": DIALECT,
        "title": "One log line of watchkeeper",
        "type": "object",
        "properties": common | {name: _field(name) for name in names},
        "required": list(_ALWAYS),
        "additionalProperties": False,
        "allOf": [_one(event) for event in EVENTS],
    }


def _field(name: str) -> dict[str, Any]:
    text = {"type": "string", "maxLength": FIELD_MAX}
    if name in _LISTS:
        return {"type": "array", "items": text}
    return {"type": ["number", "null"]} if name == "health" else (
        {"type": _NUMBERS[name]} if name in _NUMBERS else text
    )  # fmt: skip


def _one(event: Event) -> dict[str, Any]:
    """What more holds for lines of one event: its level, its stage, and no fields but its own."""
    allowed = [*_ALWAYS, "entry", *event.fields]
    holds = {
        "properties": {"level": {"const": event.level}, "stage": {"const": event.stage}},
        "propertyNames": {"enum": allowed},
    }
    asked = {"properties": {"event": {"const": event.name}}, "required": ["event"]}
    return {"if": asked, "then": holds}
