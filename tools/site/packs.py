"""The reference of the shipped packs: what their contracts say of each metric, what they decide."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from watchkeeper.config._yaml import Node, parse

PACKS = files("watchkeeper.packs")
SHIPPED = sorted(one.name for one in PACKS.iterdir() if (one / "contract.yaml").is_file())


def page() -> str:
    """Return the page of the shipped packs."""
    parts = [
        "# Shipped packs\n\nMade from the packs. What a contract may say:"
        " [contracts](../contracts.md); what a policy may say, and what to do when one fires:"
        " [policies](../policies.md).\n"
    ]
    for name in SHIPPED:
        contract = _read(name, "contract.yaml")
        parts += [f"## {contract['name']}@{contract['version']}\n", *_contract(contract)]
        if not (PACKS / name / "policies.yaml").is_file():
            continue
        policies = _read(name, "policies.yaml")["policies"]
        rows = [
            (f"`{one['name']}`", one.get("severity", "warning"), one.get("for", ""),
             f"`{' '.join(str(one['when']).split())}`", one.get("description", ""))
            for one in policies
        ]  # fmt: skip
        parts += [_table(("policy", "severity", "for", "when", "meaning"), rows), ""]
    return "\n".join(parts)


def _contract(contract: dict[str, Any]) -> list[str]:
    said = " ".join(str(contract.get("description", "")).split())
    entities = ", ".join(f"`{one}`" for one in contract["entities"])
    closed = "refuses metrics it does not name" if contract.get("closed", True) else "is open"
    parts = [f"{said} Speaks of entities {entities}, {closed}.\n".strip() + "\n"]
    rows = [
        (f"`{one['name']}`", one.get("unit", "1"), one.get("kind", "gauge"),
         _where(one.get("where", {})), _range(one, "low", "high"), one.get("worse", "both"),
         _range(one, "warn", "crit"), one.get("weight", "medium"), one.get("description", ""))
        for one in contract.get("metrics", [])
    ]  # fmt: skip
    head = ("metric", "unit", "kind", "of", "bounds", "worse", "warn, crit", "weight", "meaning")
    return [*parts, _table(head, rows), ""] if rows else parts


def _where(wanted: dict[str, Any]) -> str:
    return ", ".join(
        f"`{name}={'/'.join(map(str, value)) if isinstance(value, list) else value}`"
        for name, value in wanted.items()
    )


def _range(metric: dict[str, Any], first: str, second: str) -> str:
    low, high = metric.get(first), metric.get(second)
    return "" if low is high is None else f"{_shown(low)} … {_shown(high)}".strip()


def _shown(value: Any) -> str:
    return "" if value is None else str(value)


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    def cell(text: Any) -> str:
        return re.sub(r"\s+", " ", str(text)).replace("|", "\\|")

    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell(one) for one in line) + " |" for line in lines)


def source(pack: str, name: str) -> str:
    """Return a file of a shipped pack."""
    return (PACKS / pack / name).read_text(encoding="utf-8")


def _read(pack: str, name: str) -> Any:
    return _plain(parse(source(pack, name), f"{pack}/{name}"))


def _plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: _plain(one) for key, one in node.value.items()}
    return [_plain(one) for one in node.value] if isinstance(node.value, list) else node.value
