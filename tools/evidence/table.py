"""Write the table from each line to its evidence into `docs/readiness.md`.

python -m tools.evidence.table
"""

from __future__ import annotations

from tools.evidence.facts import ROOT
from tools.evidence.lines import LINES, is_test

PAGE = ROOT / "docs" / "readiness.md"
BEGIN, END = "<!-- lines -->\n", "<!-- end of lines -->"
STAGES = {
    "lint": "`make lint`",
    "types": "`make types`",
    "pipelines": "`make pipelines-check`",
    "docs": "`make docs`",
    "package": "`make package`",
    "image": "`make image`",
    "sbom": "`make sbom`",
    "audit-outcomes": "`make audit`: it tells its three outcomes apart",
    "audit": "`make audit`: clean; unavailable is missing",
    "secrets": "`make secrets`",
    "coverage": "`make test`: measured / floor",
    "signatures": "`make rehearse`: signed and verified",
    "refusals": "`make rehearse`: damage refused",
    "published": "`make rehearse`: published to dev",
    "promoted": "`make rehearse`: promoted to staging by digest, wrong account and order refused",
    "production": "`make rehearse`: promoted to prod through the gate, rolled back",
    "container": "`make rehearse`: run read-only from prod until it reports health",
    "bench": "`make bench-gate`: every ratio / its floor",
    "bench-stages": "`make bench-gate`: each stage within its budget",
    "bench-parallel": "`make bench-gate`: two threads beside one",
}


def table() -> str:
    """Return the table: a row a check."""
    rows = ["| line | check | held by |", "|---|---|---|"]
    for line, checks in LINES.items():
        for check, names in checks.items():
            told = [f"`{name}`" if is_test(name) else STAGES[name] for name in names]
            rows.append(f"| {line} | {check} | {'<br>'.join(told) or '**nothing yet**'} |")
    return "\n".join(rows) + "\n"


def stale() -> bool:
    """Return whether the page has another table."""
    return PAGE.read_text(encoding="utf-8") != _written()


def _written() -> str:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(_written(), encoding="utf-8")
