"""Tell Prometheus' Alertmanager (API v2), which groups, silences and routes to people.

One alert is one policy on one entity. Its identity is its labels, and these never change while it
fires, so firing and resolving meet, and a repeated order updates instead of adding. An alert that
nobody confirms expires at Alertmanager; `keep` is how long one order holds it up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from watchkeeper.actions._post import Unknown, address, post, shown_url, words_of
from watchkeeper.errors import ActionRefused, ActionRetry, ConfigError
from watchkeeper.exchange import checked_url
from watchkeeper.model import Order, Phase, canonical
from watchkeeper.secret import Secret, changed


@dataclass(frozen=True)
class Alertmanager:
    """An Alertmanager to post to.

    :param url: its base, such as http://alertmanager:9093; redirects are not followed.
        Only its host is ever printed.
    :param labels: added to every alert, such as {"site": "fra1"}; they are part of its identity.
    :param keep: seconds an alert stays up without being resolved or sent again.
    :param timeout: seconds for the whole exchange.
    :raises ConfigError: the URL or a label name cannot be used.
    """

    url: Secret = field(repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    keep: float = 86_400.0
    timeout: float = 10.0

    def __post_init__(self) -> None:
        checked_url(self.url.reveal())
        if not (self.timeout > 0 and self.keep > 0):
            raise ConfigError("alertmanager: timeout and keep must be above 0 seconds")
        for name in self.labels:
            plain = name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()
            if not plain:
                raise ConfigError(f"alertmanager: {name!r} is not a label name ([a-zA-Z_][\\w]*)")

    def perform(self, order: Order) -> str:
        """Post one alert; firing until `keep` is over, or ended when the phase is resolved.

        :raises ActionRetry: Alertmanager cannot take it now.
        :raises ActionRefused: it says the alert is malformed, or the payload is no decision.
        """
        alert = self.alert(order)
        url = address(self.url)
        headers = {"Content-Type": "application/json", "Idempotency-Key": order.key}
        where = url.rstrip("/") + "/api/v2/alerts"
        body = canonical([alert]).encode()
        try:
            post(where, body, headers, self.timeout, words_of(url))
        except Unknown as error:
            if not changed((self.url,)):
                raise
            hint = "the URL has changed since; trying with the new one"
            raise ActionRetry(str(error.args[0]), hint=hint) from None
        state = "resolved" if alert["endsAt"] == alert["annotations"]["at"] else "firing"
        return f"{state} at {shown_url(url)}"

    def alert(self, order: Order) -> dict[str, Any]:
        """Return the alert of one order, as API v2 has it. The same order, the same alert.

        :raises ActionRefused: the payload is no decision.
        """
        try:
            fact: dict[str, Any] = json.loads(order.payload)
            policy, phase = str(fact["policy"]), Phase(fact["phase"])
        except (ValueError, KeyError, TypeError) as error:
            raise ActionRefused(f"alertmanager: the payload is no decision: {error!r}") from error
        kind, _, name = order.entity.partition(":")
        at = _time(order.created)
        ends = at if phase is Phase.RESOLVED else _time(order.created + round(self.keep * 1000))
        labels = {
            "alertname": policy,
            "entity": order.entity,
            "entity_type": kind if name else "",
            "severity": str(fact.get("severity", "")),
            **self.labels,
        }
        annotations = {
            "summary": f"{order.entity}: {policy} is {phase}",
            "description": _why(fact),
            "runbook_url": str(fact.get("runbook") or ""),
            "decision": order.decision,
            "at": at,
        }
        return {
            "labels": {name: text for name, text in labels.items() if text},
            "annotations": {name: text for name, text in annotations.items() if text},
            "startsAt": str(fact.get("starts_at") or at),
            "endsAt": ends,
        }


def _why(fact: Mapping[str, Any]) -> str:
    """One sentence: health, and what took most of it."""
    health = fact.get("health")
    parts = ["health unknown" if health is None else f"health {health:.0f} of 100"]
    for part in list(fact.get("contributions") or ())[:3]:
        parts.append(f"{part['metric']} took {part['share']:.0%}")
    return ", ".join(parts)


def _time(millis: int) -> str:
    """RFC 3339 with milliseconds; one width, so that texts compare as times do."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=millis)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


plugin = Alertmanager
