"""Print the JSON Schema of a file format, for editors, programs and people."""

from __future__ import annotations

import json
from typing import Literal

Document = Literal["config", "contract", "policy", "scenario", "log", "report", "openapi"]


def schema(document: Document = "config", /, *, output: Literal["json"] = "json") -> int:
    """Print the JSON Schema (2020-12) of a file format, a log line or a report.json.

    For the API it is its OpenAPI document, the same that a running house has at
    /api/v1/openapi.json.

    Examples:

      watchkeeper schema
      watchkeeper schema policy > policy.schema.json

    Parameters
    ----------
    document
        Which: config, contract, policy, scenario, report, log (one line of it), or openapi.
    output
        A schema is JSON.
    """
    print(json.dumps(_schema(document), indent=2, ensure_ascii=False))
    return 0


def _schema(document: Document) -> object:
    if document == "scenario":
        from watchkeeper.config import DIALECT
        from watchkeeper.simulate import Scenario

        return {"$schema": DIALECT, **Scenario.model_json_schema()}
    if document == "log":
        from watchkeeper.observe.events import schema as of_a_line

        return of_a_line()
    if document == "openapi":
        from watchkeeper.http.api import openapi

        return openapi()
    from watchkeeper import config

    if document == "report":
        from watchkeeper.reports._schema import schema as of_a_report
        from watchkeeper.reports.json import SCHEMA

        return of_a_report(SCHEMA, config.DIALECT)
    return config.schema(document)
