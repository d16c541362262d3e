"""Contracts say what telemetry may enter: which metrics, in which unit, within which bounds.

A contract is a versioned YAML file of a pack (`packs/host/contract.yaml` is `host@1`). Checking is
pure and vectorised: rules are looked up once for each kind of series, then applied to columns.

    read(document, where) -> Contract
    check(contracts, batch, arrived) -> Checked          accepted + rejected = offered
    traits(contracts, keys) -> Traits                    what detectors may know of a series
    metrics_of(contracts, keys) -> [Metric]              what people may
"""

from __future__ import annotations

from collections.abc import Sequence

from watchkeeper.contracts._catalogue import Alias, Contract, Conversion, Metric, Upcast, read
from watchkeeper.contracts._check import all_joined, check, joined, metrics_of, traits, tried
from watchkeeper.contracts._lookup import Allow, Known

__all__ = [
    "Alias",
    "Allow",
    "Contract",
    "Conversion",
    "Known",
    "Metric",
    "Upcast",
    "all_joined",
    "check",
    "contract_names",
    "joined",
    "metrics_of",
    "read",
    "traits",
    "tried",
]


def contract_names(contracts: Sequence[Contract]) -> list[str]:
    """Return names and versions, in order: `["host@1", "generic@1"]`."""
    return [contract.label for contract in contracts]
