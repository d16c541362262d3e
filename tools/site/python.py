"""The reference of what Python programs may use: nouns, sockets of the families, checks."""

from __future__ import annotations

from importlib.resources import files

SOCKETS = (
    "receivers",
    "sources",
    "journal",
    "detectors",
    "health",
    "policies",
    "ledger",
    "actions",
    "reports",
    "engines",
    "secrets",
)


def page() -> str:
    """Return the page of the modules; Sphinx fills it from their docstrings."""
    parts = [
        "# Python\n\nMade from the docstrings. A plug is one file;"
        " [the house](../../ARCHITECTURE.md#families) says where it goes, and the checks it must"
        " pass are in `watchkeeper.testing`. What is not here may change at any time.\n"
    ]
    for name in modules():
        parts.append(f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n")
    return "\n".join(parts)


def modules() -> list[str]:
    """Return the public modules, in order."""
    checks = sorted(
        path.name.removesuffix(".py")
        for path in (files("watchkeeper") / "testing").iterdir()
        if path.name.endswith(".py") and not path.name.startswith("_")
    )
    return [
        "watchkeeper.model",
        "watchkeeper.errors",
        "watchkeeper.plugins",
        *(f"watchkeeper.{family}" for family in SOCKETS),
        *(f"watchkeeper.testing.{name}" for name in checks),
    ]
