"""Write a wrong configuration for every key there is, and what is said about it.

    .venv/bin/python tools/every_key.py

One file for the top level, the limits, the policies, and each type of each family: each field has a
value it cannot have. `tests/test_config.py` holds the messages to the files, and the files to the
published schema, so run this after a field was added, and read the difference.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Iterable
from pathlib import Path

from watchkeeper import config, errors, plugins
from watchkeeper.config import _plugs, _schema, _settings
from watchkeeper.policies import Policy

CASES = Path(__file__).parents[1] / "tests" / "config"
LISTED = ("receivers", "sources", "detectors")
NAMED = ("actions", "secrets")
FAMILIES = {family: family for family in (*LISTED, *NAMED, "health")} | {"engines": "engine"}


def main() -> None:
    """Write the files anew."""
    os.chdir(CASES)
    for old in Path().glob("every_key*.bad.*"):
        old.unlink()
    top = [name for name in _settings.Settings.model_fields if name != "version"]
    write("every_key", ["version: {}", *(f"{name}: {wrong(name)}" for name in top)])
    for name, section in _schema.SECTIONS.items():
        lines = ["version: 1", f"{name}:", *fields(2, _plugs.types_of(section))]
        write(f"every_key_of_{name}", lines)
    for name, row in _schema.ROWS.items():
        lines = ["version: 1", f"{name}:", "  -", *fields(4, _plugs.types_of(row))]
        write(f"every_key_of_{name}", lines)
    names = [field.alias or name for name, field in Policy.model_fields.items() if name != "name"]
    policy = ["version: 1", "policies:", "  - name: all", *(f"    {one}: [[]]" for one in names)]
    write("every_key_of_policies", policy)
    for family, key in FAMILIES.items():
        for kind in plugins.kinds(family):
            types = _plugs.types_of(plugins.load(family, kind))
            if types:
                write(f"every_key_of_{key}_{kind}", ["version: 1", *plug(family, key, kind, types)])


def plug(family: str, key: str, kind: str, types: Iterable[str]) -> list[str]:
    """Return the lines of one plug."""
    if family in LISTED:
        return [f"{key}:", f"  - type: {kind}", *fields(4, types)]
    if family in NAMED:
        return [f"{key}:", "  mine:", f"    type: {kind}", *fields(4, types)]
    return [f"{key}:", f"  type: {kind}", *fields(2, types)]


def fields(indent: int, names: Iterable[str]) -> list[str]:
    """Return lines in which each field is a list in a list, which none can be."""
    return [f"{' ' * indent}{name}: [[]]" for name in names]


def wrong(name: str) -> str:
    """Return a value that a top-level field cannot have."""
    annotation = _settings.Settings.model_fields[name].annotation
    return "{}" if typing.get_origin(annotation) is list else "[]"


def write(name: str, lines: list[str]) -> None:
    """Write one configuration, and what is said about it."""
    file = Path(f"{name}.bad.yaml")
    file.write_text("\n".join(["# Made by tools/every_key.py.", *lines, ""]), "utf-8")
    try:
        config.load([file], {})
    except errors.ConfigError as error:
        said = str(error).replace(", ".join(plugins.kinds("sources")), "<sources>")
        Path(f"{name}.bad.txt").write_text(f"{said}\n", "utf-8")
    else:
        raise SystemExit(f"{file} loads")


if __name__ == "__main__":
    main()
