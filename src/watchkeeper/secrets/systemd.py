"""Credentials that systemd hands a service (LoadCredential=, LoadCredentialEncrypted=)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from watchkeeper.errors import SecretError
from watchkeeper.secrets._file import read
from watchkeeper.secrets._part import part


@dataclass(frozen=True)
class Systemd:
    """A service's credentials; `path` is the name of one, `key` a part of the JSON in it.

    :param refresh: seconds after which a credential is read again; it changes with a restart only.
    """

    refresh: float = 3600.0

    def open(self) -> Systemd:
        """Nothing to open."""
        return self

    def fetch(self, path: str, key: str) -> str:
        """Return one credential.

        :raises SecretError: systemd handed none of this name, or this is no service of it.
        """
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise SecretError(
                "systemd handed no credentials", hint="add LoadCredential= to the unit"
            )
        if "/" in path or path in ("", ".", ".."):
            raise SecretError(f"systemd: {path!r} is no name of a credential")
        return part("systemd", path, read(Path(folder) / path, others=True), key)

    def keep(self) -> None:
        """Nothing to renew."""

    def close(self) -> None:
        """Nothing to close."""


plugin = Systemd
