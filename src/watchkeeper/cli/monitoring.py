"""Print what Prometheus and Grafana need to watch a house."""

from __future__ import annotations

from importlib.resources import files
from typing import Literal

SHIPPED = {
    "rules": "rules.yaml",
    "dashboard": "dashboard.json",
    "scrape": "scrape.yaml",
    "provisioning": "provisioning.yaml",
    "objectives": "objectives.yaml",
}
Document = Literal["rules", "dashboard", "scrape", "provisioning", "objectives"]


def monitoring(document: Document = "rules", /) -> int:
    """Print what Prometheus and Grafana need to watch a house.

    Examples:

      watchkeeper monitoring rules > /etc/prometheus/rules/watchkeeper.rules.yaml
      watchkeeper monitoring dashboard > watchkeeper.json

    Parameters
    ----------
    document
        rules: recording and alerting rules. dashboard: for Grafana. scrape: for prometheus.yml.
        provisioning: for Grafana's dashboards folder. objectives: what the house promises.
    """
    print(text(document), end="")
    return 0


def text(document: str) -> str:
    """Return one of the documents that are shipped."""
    return files("watchkeeper.packs").joinpath(f"house/{SHIPPED[document]}").read_text("utf-8")
