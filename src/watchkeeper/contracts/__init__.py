"""Contracts say what telemetry may enter: which metrics, in which unit, within which bounds.

A contract is a versioned YAML file of a pack (`packs/host/contract.yaml` is `host@1`). Checking is
pure and vectorised: rules are looked up once for each series of a batch, then applied to columns.
"""

from __future__ import annotations
