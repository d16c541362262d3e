"""Print what Prometheus and Grafana need to watch a house."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

from watchkeeper.errors import OutputError

SHIPPED = {
    "rules": "rules.yaml",
    "dashboard": "dashboard.json",
    "scrape": "scrape.yaml",
    "provisioning": "provisioning.yaml",
    "objectives": "objectives.yaml",
}
Document = Literal["rules", "dashboard", "scrape", "provisioning", "objectives"]


def monitoring(document: Document = "rules", /, *, out: Path | None = None) -> int:
    """Print what Prometheus and Grafana need to watch a house.

    Examples:

      watchkeeper monitoring rules --out rules.yaml  for Prometheus
      watchkeeper monitoring dashboard               for Grafana

    Parameters
    ----------
    document
        Which: recording and alerting rules, a dashboard for Grafana, the scrape of prometheus.yml,
        provisioning of the dashboard, or the objectives the house keeps.
    out
        A file to write it to, instead of printing it.
    """
    if out is None:
        print(text(document), end="")
        return 0
    try:
        out.write_text(text(document), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out}: {error.strerror}") from None
    return 0


def text(document: str) -> str:
    """Return one of the documents that are shipped."""
    return files("watchkeeper.packs").joinpath(f"house/{SHIPPED[document]}").read_text("utf-8")
