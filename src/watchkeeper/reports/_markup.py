"""How findings become HTML: one kind of environment for reports and pages.

Whatever came from telemetry is data: it is escaped, and what nobody can see in it is shown as `�`.
"""

from __future__ import annotations

import json
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup

from watchkeeper.reports import _words as words
from watchkeeper.reports._plots import bar


def environment(loader: BaseLoader | None = None) -> Environment:
    """Return an environment whose filters say numbers, times and names as everywhere else."""
    here = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        loader=loader,
    )
    for name in ("when", "span", "number", "health", "percent", "count"):
        here.filters[name] = getattr(words, name)
    here.filters |= {"pretty": pretty, "spaced": _spaced}
    here.globals |= {"series": words.series, "share": _share}
    return here


def pretty(text: str) -> str:
    """Return JSON with line breaks; any other text as it is."""
    try:
        return json.dumps(json.loads(text), indent=1, ensure_ascii=False)
    except ValueError:
        return text


def _spaced(name: Any) -> str:
    return str(name).replace("_", " ")


def _share(share: float, state: Any = None) -> Markup:
    state = None if state == "ok" else state
    return Markup(bar(min(max(share, 0.0), 1.0), state))  # noqa: S704 - numbers only


def _visible(value: Any) -> Any:
    return words.shown(value) if type(value) is str else value  # Markup is ours already
