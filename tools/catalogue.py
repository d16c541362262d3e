"""Write the catalogues of metrics, log lines, spans and objectives into the documents.

`python -m tools.catalogue` writes them anew between the marks `<!-- NAME -->` and `<!-- /NAME -->`;
a test sees that they are what the tables say.
"""

import re
from pathlib import Path

from watchkeeper.live._objectives import promises, shown
from watchkeeper.observe import SPANS
from watchkeeper.observe.events import EVENTS
from watchkeeper.observe.metrics import STAGES

DOCS = Path(__file__).parents[1] / "docs"


def metrics() -> str:
    """The table of metrics, stage by stage."""
    parts = []
    for stage, table in STAGES.items():
        rows = [
            (f"`{one.name}{{{','.join(one.labels)}}}`" if one.labels else f"`{one.name}`",
             one.kind, _lower(one.says))
            for one in table
        ]  # fmt: skip
        parts.append(f"### {stage}\n\n" + _table(("metric", "kind", "meaning"), rows))
    return "\n\n".join(parts)


def events() -> str:
    """The table of log lines."""
    rows = [
        (f"`{one.name}`", one.level, one.stage, one.says, ", ".join(f"`{f}`" for f in one.fields))
        for one in EVENTS
    ]
    return _table(("event", "level", "stage", "meaning", "fields"), rows)


def spans() -> str:
    """The table of spans."""
    rows = [(f"`{one.name}`", one.stage, one.under, one.says) for one in SPANS]
    return _table(("span", "stage", "hangs under", "what it times"), rows)


def objectives() -> str:
    """What is promised, and what is told when it is broken."""
    promised = promises()
    rows = [(f"`{one.name}`", f"{one.target:.1%}", one.says) for one in promised.objectives]
    told = [
        (one.severity, shown(one.long), shown(one.short), f"{one.factor:g}")
        for one in promised.pairs
    ]
    first = _table(("objective", f"good, over {shown(promised.window)}", "a good event"), rows)
    return first + "\n\n" + _table(("severity", "long window", "short window", "burn rate"), told)


CATALOGUES = {
    "metrics.md": ("metrics", metrics),
    "logging.md": ("events", events),
    "tracing.md": ("spans", spans),
    "slo.md": ("objectives", objectives),
}


def written(name: str) -> tuple[str, str]:
    """Return a document as it is, and as the tables say that it should be."""
    mark, made = CATALOGUES[name]
    text = (DOCS / name).read_text(encoding="utf-8")
    pattern = re.compile(f"<!-- {mark} -->\n.*?<!-- /{mark} -->", re.DOTALL)
    assert pattern.search(text), f"docs/{name}: no marks <!-- {mark} -->"
    return text, pattern.sub(lambda _: f"<!-- {mark} -->\n\n{made()}\n\n<!-- /{mark} -->", text)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def _lower(text: str) -> str:
    text = text.rstrip(".")
    return text[0].lower() + text[1:]


if __name__ == "__main__":
    for name in CATALOGUES:
        (DOCS / name).write_text(written(name)[1], encoding="utf-8")
