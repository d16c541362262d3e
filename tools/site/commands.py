"""The reference of the command line, made from the commands themselves."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cyclopts import App, Parameter

from watchkeeper.cli import ALSO, COMMANDS

# A docstring as `--help` reads it: the name of a parameter, then its meaning, indented.
_SAID = re.compile(r"^(\w+)\n((?:    .*\n?)+)", re.MULTILINE)


@dataclass(frozen=True)
class Option:
    """One argument or option of a command, as it is typed."""

    name: str
    values: str
    default: str
    says: str


def page() -> str:
    """Return the page of all commands."""
    parts = [
        "# Commands\n\nMade from the commands. Options may stand in any order; `--output json`"
        " is there wherever a program may read the answer. Exit codes:"
        " [documentation](../index.md#commands).\n"
    ]
    for name in COMMANDS:
        told, examples = text(name)
        also = "".join(f" Also: `watchkeeper {other}`." for other in ALSO.get(name, ()))
        parts.append(f"## {name}\n\n{told}{also}\n\n```text\n{examples}\n```\n")
        rows = [f"| `{o.name}` | {o.values} | {o.default} | {o.says} |" for o in options(name)]
        if rows:
            head = "| argument or option | values | default | meaning |\n| --- | --- | --- | --- |"
            parts.append("\n".join([head, *rows, ""]))
    return "\n".join(parts)


def text(name: str) -> tuple[str, str]:
    """Return what a command says of itself, and its examples."""
    said, _, _ = inspect.cleandoc(function(name).__doc__ or "").partition("\nParameters\n")
    told, _, examples = said.partition("\nExamples:\n")
    return told.strip(), inspect.cleandoc(examples.partition("\n\n\n")[0]).strip()


def options(name: str) -> list[Option]:
    """Return what may be given to a command, in the order of its help."""
    called = function(name)
    section = inspect.cleandoc(called.__doc__ or "").partition("\nParameters\n")[2]
    says = {key: " ".join(words.split()) for key, words in _SAID.findall(section)}
    app = App(name=name, default_parameter=Parameter(negative=()), help_format="plaintext")
    app.default(called)
    found = []
    for one in app.assemble_argument_collection():
        choices = one.get_choices()
        values = (
            ", ".join(f"`{choice}`" for choice in choices)
            if choices
            else _kind(one.hint, one.is_positional_only())
        )
        default = "required" if one.required else _default(one.field_info.default)
        found.append(
            Option("`, `".join(one.names), values, default, says.get(one.field_info.name, ""))
        )
    return found


def function(name: str) -> Callable[..., Any]:
    """Return the function of a command."""
    called: Callable[..., Any] = getattr(importlib.import_module(f"watchkeeper.cli.{name}"), name)
    return called


def _kind(hint: Any, positional: bool) -> str:
    told = str(getattr(hint, "__name__", hint)) if isinstance(hint, type) else str(hint)
    many = ", any number" if told.startswith("tuple") else ""
    for mark, word in (("Path", "path"), ("bool", ""), ("int", "number"), ("float", "number")):
        if mark in told:
            return word + many
    return "text" + many


def _default(value: Any) -> str:
    return "" if value in ((), False, None, "", inspect.Parameter.empty) else f"`{value}`"
