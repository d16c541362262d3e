"""Check configurations and packs without starting anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from watchkeeper.cli import CONFIGURATION
from watchkeeper.cli._terminal import Output, emit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watchkeeper.config import Problem


def check(*files: Path, output: Output = "text") -> int:
    """Check configuration files and packs; exit with 0 when all hold, with 78 otherwise.

    Files and folders of files are merged in order, as `run --config` does; a folder with a
    contract.yaml is a pack and is checked as one. Without any, the defaults and the shipped packs
    are checked.

    Examples:

      watchkeeper check
      watchkeeper check watchkeeper.yaml site/

    Parameters
    ----------
    files
        Configuration files, folders of them, or packs.
    output
        text or json.
    """
    from watchkeeper import config

    packs = [path for path in files if (path / "contract.yaml").is_file()]
    layers = [path for path in files if path not in packs]
    checked: list[dict[str, Any]] = []
    for pack in packs or ([] if files else config.shipped_packs()):
        name, problems = config.survey_pack(pack)
        checked.append(_facts(f"pack {name}", problems))
    if layers or not files:
        _, problems = config.survey(layers, os.environ)
        name = ", ".join(str(path) for path in layers) or "the defaults"
        checked.append(_facts(f"configuration {name}", problems))
    sound = all(not facts["problems"] for facts in checked)
    emit(output, {"ok": sound, "checked": checked}, "\n".join(map(_text, checked)))
    return 0 if sound else CONFIGURATION


def _facts(name: str, problems: Sequence[Problem]) -> dict[str, Any]:
    return {
        "name": name,
        "problems": [
            {
                "code": problem.code,
                "file": problem.place.file,
                "line": problem.place.line,
                "column": problem.place.column,
                "path": problem.path,
                "message": problem.message,
                "hint": problem.hint,
            }
            for problem in problems
        ],
    }


def _text(facts: dict[str, Any]) -> str:
    if not facts["problems"]:
        return f"{facts['name']}: ok"
    lines = [f"{facts['name']}: {len(facts['problems'])} to fix"]
    for one in facts["problems"]:
        place = f"{one['file']}:{one['line']}:{one['column']}"
        what = ": ".join(part for part in (place, one["path"], one["message"]) if part)
        lines.append(f"  {one['code']} {what}")
        lines += [f"        {one['hint']}"] if one["hint"] else []
    return "\n".join(lines)
