"""Print the JSON Schema of a file format, for editors and for people."""

from __future__ import annotations

import json
from typing import Literal

Document = Literal["config", "contract", "policy", "scenario"]


def schema(document: Document = "config", /, *, output: Literal["json"] = "json") -> int:
    """Print the JSON Schema (2020-12) of a file format, for editors and for people.

    Examples:

      watchkeeper schema
      watchkeeper schema policy > policy.schema.json

    Parameters
    ----------
    document
        Which file: config, contract, policy or scenario.
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
    from watchkeeper import config

    return config.schema(document)
