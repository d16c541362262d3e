"""Write the order as one line of JSON to standard error. The action nobody has to configure."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

from watchkeeper.errors import ActionRetry
from watchkeeper.model import Order

TEXT_MAX = 1_024  # characters of one text; a label of a megabyte must not become a log line


@dataclass(frozen=True)
class Log:
    """Standard error. What is not plain ASCII is escaped: a name cannot forge a second line."""

    at_home: ClassVar[bool] = True

    def perform(self, order: Order) -> str:
        """Write one line; the same order again writes the same line.

        :raises ActionRetry: standard error cannot be written to.
        """
        line = json.dumps(
            {
                "event": "order",
                "key": order.key,
                "action": order.action,
                "decision": order.decision,
                "entity": _short(order.entity),
                "created": order.created,
                "order": _short(_read(order.payload)),
            },
            sort_keys=True,
        )
        try:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except (OSError, ValueError) as error:
            raise ActionRetry(f"standard error cannot be written to: {error}") from error
        return "written to standard error"


def _read(payload: str) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return payload


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= TEXT_MAX else value[: TEXT_MAX - 1] + "…"
    if isinstance(value, dict):
        return {str(name)[:TEXT_MAX]: _short(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_short(part) for part in value]
    return value


plugin = Log
