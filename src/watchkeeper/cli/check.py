"""Check configurations and packs without starting anything."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from watchkeeper.cli import CONFIGURATION
from watchkeeper.cli._terminal import Output, emit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from watchkeeper.config import Config, Problem


def check(
    *files: Path,
    syntax_only: bool = False,
    offline: bool = False,
    strict: bool = False,
    profile: str = "",
    output: Output = "text",
) -> int:
    """Check configuration files and packs, and whether what they name is there.

    Files and folders of files are merged in order, as `run --config` does; a folder with a
    contract.yaml is a pack and is checked as one. Without any, the defaults and the shipped packs
    are checked. Secrets are fetched, sources and actions connected to, journal and ledger proven.

    Exit codes: 0 all holds; 1 something cannot be reached or is damaged, or with --strict, there
    are warnings; 78 the configuration cannot be used as written.

    Examples:

      watchkeeper check
      watchkeeper check watchkeeper.yaml site/
      watchkeeper check --syntax-only watchkeeper.yaml   with nothing of it at hand

    Parameters
    ----------
    files
        Configuration files, folders of them, or packs.
    syntax_only
        Look at the texts only: no secrets, no connections, no stores.
    offline
        Make no connections to sources and actions.
    strict
        Warnings are failures.
    profile
        dev, staging or prod, as `run --profile` takes it.
    output
        text or json.
    """
    from watchkeeper import config
    from watchkeeper.secrets import Keeper

    packs = [path for path in files if (path / "contract.yaml").is_file()]
    layers = [path for path in files if path not in packs]
    checked: list[dict[str, Any]] = []
    for pack in packs or ([] if files else config.shipped_packs()):
        name, problems = config.survey_pack(pack)
        checked.append(_facts(f"pack {name}", problems))
    if layers or not files:
        keeper = Keeper(blind=syntax_only)
        overlay = json.dumps({"profile": profile}) if profile else ""
        settings, problems = config.survey(layers, os.environ, overlay, keeper)
        name = ", ".join(str(path) for path in layers) or "the defaults"
        facts = _facts(f"configuration {name}", problems)
        if settings is not None:
            facts |= {"profile": settings.profile, "differs": config.of_profile(settings)}
            facts |= _around(settings, syntax_only=syntax_only, offline=offline)
        checked.append(facts)
        keeper.close()
    sound = all(not facts["problems"] for facts in checked)
    missing = any(facts.get("missing") for facts in checked)
    warned = strict and any(facts.get("warnings") for facts in checked)
    ok = sound and not missing and not warned
    emit(output, {"ok": ok, "checked": checked}, "\n".join(map(_text, checked)))
    return 0 if ok else 1 if sound else CONFIGURATION


def _around(settings: Config, *, syntax_only: bool, offline: bool) -> dict[str, Any]:
    """Return what is not there, and what is worth a second look."""
    from watchkeeper.cli._reach import damaged, unreachable

    missing: list[str] = []
    if not syntax_only:
        missing += [] if offline else unreachable(settings)
        missing += damaged(settings.data)
    return {"missing": missing, "warnings": [*_warnings(settings)]}


def _warnings(settings: Config) -> Iterator[str]:
    yield from settings.climbed
    flags = settings.rules.flags
    for name, (flag, default) in settings.switches.items():
        if not flags.get(flag, default):
            yield f"source {name} is off: flags: {{{flag}: true}} switches it on"
    for kind in settings.experimental:
        yield f"detector {kind} is experimental and off: flags: {{detector.{kind}: true}}"
    for policy in settings.rules.policies:
        needed = {settings.rules.needs.get(action, "") for action in policy.action} | {policy.flag}
        for flag in sorted(name for name in needed if name and not flags.get(name, False)):
            if policy.mode != "dry_run":
                yield f"policy {policy.name} does not act: flag {flag} is off"
    if not settings.sources and not settings.receivers:
        yield "nothing is asked and nothing is taken in: no sources, no receivers"


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
        missing, warnings = facts.get("missing", ()), facts.get("warnings", ())
        lines = [f"{facts['name']}: {'not all is there' if missing else 'ok'}"]
        if facts.get("profile"):
            differs = "; ".join(f"{path}: {value}" for path, value in facts["differs"].items())
            lines.append(f"  profile {facts['profile']}, under what the files say: {differs}")
        lines += [f"  missing: {one}" for one in missing]
        return "\n".join([*lines, *(f"  warning: {one}" for one in warnings)])
    lines = [f"{facts['name']}: {len(facts['problems'])} to fix"]
    for one in facts["problems"]:
        place = f"{one['file']}:{one['line']}:{one['column']}"
        what = ": ".join(part for part in (place, one["path"], one["message"]) if part)
        lines.append(f"  {one['code']} {what}")
        lines += [f"        {one['hint']}"] if one["hint"] else []
    return "\n".join(lines)
