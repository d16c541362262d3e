"""Alerts that others raised: Prometheus' posts to Alertmanager, and Alertmanager's webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from watchkeeper.errors import Malformed, RequestError, TooLarge
from watchkeeper.identity import Identity
from watchkeeper.model import KEYS, Batch, Control, Cursor, Millis, Reason, canonical, digest
from watchkeeper.receivers import Answer, Decoder, Delivery, Limits, Outcome, Route
from watchkeeper.receivers._json import failed, moment, text_of, unpacked, whole
from watchkeeper.receivers._rows import Rejects, samples

POST, WEBHOOK = "/api/v2/alerts", "/api/v1/alerts/webhook"
ALERTS_MAX = 10_000  # of one request
ANNOTATIONS_MAX = 1 << 16  # characters of one alert's annotations
_NEVER = -62_135_596_800_000  # 0001-01-01, which is how Go writes that there is no time


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """Takes alerts in as inputs of the journal; nothing is scored or sent on because of them.

    :param name: the receiver's name in the journal.
    :param resolve_seconds: how many seconds an alert that names no end goes on.
    """

    name: str = "alerts"
    resolve_seconds: float = 300.0

    routes: ClassVar[tuple[Route, ...]] = (Route("POST", POST), Route("POST", WEBHOOK))

    def open(self, limits: Limits, identity: Identity) -> Decoder:
        """Return a decoder; it remembers nothing."""
        return Raised(self, limits, identity)

    def examples(self) -> tuple[Delivery, ...]:
        """Return one alert."""
        alert = b'[{"labels": {"alertname": "a"}}]'
        return (Delivery("POST", POST, {}, {}, alert, Millis(0)),)

    def answer(self, delivery: Delivery, outcome: Outcome) -> Answer:
        """Return 200, or what was wrong in the form of Prometheus' API."""
        if isinstance(outcome, RequestError) or outcome.rejected:
            return failed(outcome)
        return Answer(200, {"Content-Type": "application/json"}, b'{"status":"success"}')


class _Fault(Exception):
    """One alert cannot be taken. Never leaves this file."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class Raised:
    """Decodes alerts of one tenant."""

    def __init__(self, receiver: Alerts, limits: Limits, identity: Identity) -> None:
        self._name, self._limits, self._identity = receiver.name, limits, identity
        self._resolve = round(receiver.resolve_seconds * 1000)

    def decode(self, delivery: Delivery) -> Batch | None:
        """Return each alert as a control.

        :raises RequestError: nothing of it can be used.
        """
        body, _ = unpacked(delivery, self._limits, "application/json")
        offered = whole(body)
        if delivery.path == WEBHOOK:
            offered = _of_webhook(offered)
        if not isinstance(offered, list):
            raise Malformed("the body is no array of alerts")
        if len(offered) > ALERTS_MAX:
            raise TooLarge(f"more than {ALERTS_MAX} alerts in one request", hint="send fewer")
        source = f"{self._name}/{delivery.tenant}" if delivery.tenant else self._name
        origin = f"{source} request {delivery.number}"
        rejects, controls = Rejects(origin), list[Control]()
        for number, alert in enumerate(offered, 1):
            try:
                said = self._alert(alert, int(delivery.arrived))
            except _Fault as fault:
                shown, place = text_of(alert), f"alert {number}"
                rejects.add(fault.reason, fault.detail, offered=shown, place=place)
            else:
                controls.append(Control("alert", source, canonical(said)))
        if not offered:
            return None
        nothing = samples(np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0))
        return Batch(
            source, Cursor(""), pa.RecordBatch.from_pylist([], KEYS), nothing,
            rejects.columns(), tuple(controls), origin,
        )  # fmt: skip

    def _alert(self, alert: Any, arrived: int) -> dict[str, Any]:
        if not isinstance(alert, dict):
            raise _Fault(Reason.MALFORMED, "an object with labels")
        limits = self._limits
        labels = _texts(alert, "labels", limits)
        if not labels:
            raise _Fault(Reason.MALFORMED, "at least one label")
        if any(len(value.encode()) > limits.value for value in labels.values()):
            raise _Fault(Reason.TOO_LARGE, f"labels of at most {limits.value} bytes")
        annotations = _texts(alert, "annotations", limits)
        if sum(map(len, annotations.values())) > ANNOTATIONS_MAX:
            raise _Fault(Reason.TOO_LARGE, f"annotations of at most {ANNOTATIONS_MAX} characters")
        url = alert.get("generatorURL") or ""
        if not isinstance(url, str) or len(url) > limits.value:
            raise _Fault(Reason.MALFORMED, f"generatorURL: text of at most {limits.value} bytes")
        starts, ends = _time(alert, "startsAt"), _time(alert, "endsAt")
        status = alert.get("status")
        if status not in ("firing", "resolved"):
            status = "firing" if ends is None or ends > arrived else "resolved"
        if ends is None:
            ends = arrived if status == "resolved" else self._resolve + max(arrived, starts or 0)
        if starts is None:
            starts = min(arrived, ends)
        if ends < starts:
            raise _Fault(Reason.MALFORMED, "an end that is not before the start")
        metric = labels.get("alertname", "")
        entity, _, _ = self._identity.key(metric, labels, f"source:{self._name}")
        if not entity.isprintable():
            raise _Fault(Reason.BAD_NAME, "labels that name the entity in printable characters")
        return {
            "labels": labels,
            "annotations": annotations,
            "starts_at": starts,
            "ends_at": ends,
            "status": status,
            "generator_url": url,
            "fingerprint": digest(labels)[:16],
            "entity": entity,
        }


def _of_webhook(payload: Any) -> Any:
    """Return the alerts of a webhook's payload.

    :raises Malformed: it is not what Alertmanager sends.
    """
    if not isinstance(payload, Mapping) or "alerts" not in payload:
        raise Malformed("the body is no webhook of Alertmanager: it has no `alerts`")
    if payload.get("version") != "4":
        raise Malformed(f"version {str(payload.get('version'))[:20]!r} of the webhook is not 4")
    return payload["alerts"]


def _texts(alert: dict[str, Any], name: str, limits: Limits) -> dict[str, str]:
    """Return a mapping of texts; empty ones are as good as absent."""
    given = alert.get(name)
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(text, str) for text in given.values()):
        raise _Fault(Reason.MALFORMED, f"{name}: an object of texts")
    if len(given) > limits.labels:
        raise _Fault(Reason.TOO_LARGE, f"at most {limits.labels} {name}")
    for label in given:
        if not label or not label.isprintable():
            raise _Fault(Reason.BAD_NAME, f"{name} with names of printable characters")
        if len(label.encode()) > limits.name:
            raise _Fault(Reason.TOO_LARGE, f"{name} with names of at most {limits.name} bytes")
    return {label: text for label, text in given.items() if text}


def _time(alert: dict[str, Any], name: str) -> int | None:
    given = alert.get(name)
    if given is None or given == "":
        return None
    at = moment(given) if isinstance(given, str) else None
    if at is None:
        raise _Fault(Reason.NO_TIME, f"{name} as RFC 3339")
    return None if at == _NEVER else at


plugin = Alerts
