"""The reference of the configuration: every key with type, default, meaning, and why it is so."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from watchkeeper import config, plugins
from watchkeeper.config import _plugs, _schema

ROOT = Path(__file__).parents[2]
# Families, and the key under which their members are written.
FAMILIES = {
    "receivers": "receivers",
    "sources": "sources",
    "detectors": "detectors",
    "health": "health",
    "actions": "actions",
    "engines": "engine",
    "secrets": "secrets",
}
# Rows of the two tables of docs/defaults.md, which a test holds to the code.
_TOP = re.compile(r"^\| `([a-z_]+)` \| `([^`]*)` \| (.+) \|$", re.MULTILINE)
_FIELD = re.compile(r"^\| `([a-z_]+)` \| ([a-z0-9_., ]+) \| `([^`]*)` \| (.+) \|$", re.MULTILINE)

Schema = Mapping[str, Any]
Reasons = Mapping[tuple[str, str], tuple[str, str]]


class Key(NamedTuple):
    """One key: where it is written, and all there is to say of it."""

    section: str
    name: str
    type: str
    default: str
    meaning: str
    why: str


def page() -> str:
    """Return the page of every key."""
    parts = [
        "# Configuration keys\n\nMade from the code. How the file is written, and how files are"
        " laid over one another, is in [configuration](../configuration.md). "
        "[Policies](../policies.md) and [contracts](../contracts.md) have pages of their own. A"
        " text field `x` of a type may be given as `x_file`, the file that holds it.\n"
    ]
    section = ""
    for key in keys():
        if key.section != section:
            section = key.section
            parts.append(
                f"\n## {section}\n\n| key | type | default | meaning | why this default |\n"
                "| --- | --- | --- | --- | --- |"
            )
        cells = (f"`{key.name}`", key.type, key.default, key.meaning, key.why)
        parts.append("| " + " | ".join(_cell(one) for one in cells) + " |")
    return "\n".join([*parts, ""])


def keys() -> Iterator[Key]:
    """Yield every key there is: the top level, its sections, then each type of each family."""
    schema = config.schema("config")
    text = (ROOT / "docs" / "defaults.md").read_text(encoding="utf-8")
    top = {("", name): (value, why) for name, value, why in _TOP.findall(text)}
    yield from _keys("Top level", "", schema["properties"], top)
    reasons: Reasons = {
        (owner, name): (value, why)
        for name, owners, value, why in _FIELD.findall(text)
        for owner in owners.split(", ")
    }
    for name in _schema.SECTIONS:
        yield from _keys(f"{name}:", name, schema["properties"][name]["properties"], reasons)
    for name in _schema.ROWS:
        fields = schema["properties"][name]["items"]["properties"]
        yield from _keys(f"{name}: each", name, fields, reasons)
    for family, written in FAMILIES.items():
        kinds = {one["title"]: one["properties"] for one in schema["$defs"][family]["oneOf"]}
        for kind in plugins.kinds(family):
            types = _plugs.types_of(plugins.load(family, kind))
            fields = {name: kinds[kind][name] for name in types}
            yield from _keys(f"{written}: {kind}", f"{family}.{kind}", fields, reasons)


def _keys(section: str, owner: str, fields: Schema, reasons: Reasons) -> Iterator[Key]:
    for name, said in fields.items():
        value, why = reasons.get((owner, name), ("", "without it nothing can be done"))
        default = f"`{value}`" if value else "required"
        yield Key(section, name, _type(said), default, said.get("description", ""), why)


def _type(schema: Schema) -> str:
    """Say what may be written; that a variable may stand for it is said of all values once."""
    if "$ref" in schema:
        return {"secret": "reference"}.get(schema["$ref"].rpartition("/")[2], "mapping with `type`")
    if "anyOf" in schema:
        found = [_type(one) for one in schema["anyOf"] if one.get("pattern") != r"\$\{"]
        return " or ".join(dict.fromkeys(one for one in found if one))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{one}`" for one in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "")
    if kind == "string" and "pattern" in schema:
        return {_schema._DURATION: "duration", _schema._SIZE: "size"}.get(schema["pattern"], "text")
    if kind == "array":
        inner = _type(schema["items"]) if isinstance(schema.get("items"), dict) else "value"
        return f"list of {inner}"
    words = {"string": "text", "integer": "whole number", "object": "mapping", "null": "nothing"}
    return words.get(kind, {"boolean": "true or false"}.get(kind, kind))


def _cell(text: str) -> str:
    # The tables of docs/defaults.md lie one folder higher.
    return re.sub(r"\]\((?=[a-z])", "](../", " ".join(text.split()).replace("|", "\\|"))
