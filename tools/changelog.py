"""Fold the fragments in `changes/` into the newest section of CHANGELOG.md, and remove them.

    make changelog [RELEASED=2026-12-01]

A fragment is `changes/NAME.KIND.md` and one item. towncrier and scriv were weighed: both make a new
section from fragments at the moment of a release; here a section grows from the first change on, so
that it can be read, and checked, before.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Mapping
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHANGELOG, FRAGMENTS = ROOT / "CHANGELOG.md", ROOT / "changes"
KINDS = {
    "highlight": "Highlights",
    "upgrade": "Upgrade notes",
    "added": "Added",
    "changed": "Changed",
    "deprecated": "Deprecated",
    "removed": "Removed",
    "fixed": "Fixed",
    "security": "Security",
}
UNRELEASED = "not yet released"
SECTION = re.compile(r"^## (\d+\.\d+\.\d+), (not yet released|\d{4}-\d\d-\d\d)$", re.MULTILINE)


def fragments(folder: Path) -> dict[Path, tuple[str, str]]:
    """Return heading and item of each fragment.

    :raises ValueError: one is misnamed, empty, or more than one paragraph.
    """
    found = {}
    for path in sorted(folder.glob("*.md")):
        if path.name == "README.md":
            continue
        kind = path.name.split(".")[-2]
        text = " ".join(path.read_text(encoding="utf-8").split())
        if path.name.count(".") != 2 or kind not in KINDS:
            raise ValueError(f"{path.name}: NAME.KIND.md, of {', '.join(KINDS)}")
        if not text or "\n\n" in path.read_text(encoding="utf-8").strip():
            raise ValueError(f"{path.name}: one item, in one paragraph")
        found[path] = (KINDS[kind], text.removeprefix("- "))
    return found


def sections(text: str) -> dict[str, Mapping[str, str]]:
    """Return of each version, newest first, its headings and what stands below them."""
    parts = SECTION.split(text)[1:]
    return {
        version: dict(re.findall(r"^### (.+)\n((?:(?!^###? ).*\n?)*)", body, re.MULTILINE))
        for version, body in zip(parts[::3], parts[2::3], strict=True)
    }


def folded(text: str, items: Mapping[Path, tuple[str, str]], released: str = "") -> str:
    """Return the changelog with items under the headings of its newest section.

    :param released: the day of its release; it stays unreleased without.
    :raises ValueError: the newest section is released, or lacks what a release needs.
    """
    newest = SECTION.search(text)
    if newest is None or newest[2] != UNRELEASED:
        raise ValueError(f"the newest section is released; begin one: `## X.Y.Z, {UNRELEASED}`")
    after = SECTION.search(text, newest.end())
    end = after.start() if after else len(text)
    version, under = newest[1], dict(sections(text)[newest[1]])
    for heading, item in items.values():
        line = textwrap.fill(
            item, 108, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False
        )
        under[heading] = f"{under.get(heading, '').rstrip()}\n{line}\n".lstrip("\n")
    missing = [heading for heading in ("Highlights", "Upgrade notes") if heading not in under]
    if released and missing:
        raise ValueError(f"{version} has no {' and no '.join(missing)}")
    body = "\n".join(f"### {h}\n{under[h].strip()}\n" for h in KINDS.values() if h in under)
    head = f"## {version}, {released or UNRELEASED}\n\n"
    return f"{text[: newest.start()]}{head}{body}{chr(10) * bool(after)}{text[end:]}"


def main() -> None:
    """Fold."""
    parser = argparse.ArgumentParser(description="fold fragments into the changelog")
    parser.add_argument("--released", default="", help="the day of the release")
    given = parser.parse_args()
    try:
        if given.released:
            date.fromisoformat(given.released)
        items = fragments(FRAGMENTS)
        text = folded(CHANGELOG.read_text(encoding="utf-8"), items, given.released)
    except ValueError as error:
        sys.exit(str(error))
    CHANGELOG.write_text(text, encoding="utf-8")
    for path in items:
        path.unlink()
    print(f"{len(items)} fragments folded into {CHANGELOG.name}")


if __name__ == "__main__":
    main()
