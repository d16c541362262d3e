"""The process's own environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

from watchkeeper.errors import SecretError
from watchkeeper.secrets._part import part


@dataclass(frozen=True)
class Env:
    """Environment variables; `path` is the name of one, `key` a part of the JSON in it.

    :param refresh: seconds after which a variable is read again; it rarely changes.
    """

    refresh: float = 3600.0

    def open(self) -> Env:
        """Nothing to open."""
        return self

    def fetch(self, path: str, key: str) -> str:
        """Return one variable.

        :raises SecretError: it is not set.
        """
        text = os.environ.get(path)
        if text is None:
            raise SecretError(f"environment variable {path} is not set")
        return part("env", path, text, key)

    def keep(self) -> None:
        """Nothing to renew."""

    def close(self) -> None:
        """Nothing to close."""


plugin = Env
