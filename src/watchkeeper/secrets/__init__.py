"""Where secrets are kept: the environment, files, and secrets managers.

Every other file is one kind of store; `_keeper.py` opens them when they are first asked, hands out
secrets, and renews both. A store says what went wrong and never what it read.
"""

from __future__ import annotations

from typing import Protocol

from watchkeeper.secrets._keeper import ROUND, Keeper, Reference

__all__ = ["ROUND", "Door", "Keeper", "Reference", "Store"]


class Door(Protocol):
    """A store that was opened. One thread at a time asks."""

    def fetch(self, path: str, key: str) -> str:
        """Return one secret as it is now.

        :param key: which part of what is kept at `path`; empty when it is kept alone.
        :raises SecretError: it cannot be had now, or does not exist.
        """

    def keep(self) -> None:
        """Renew what lets us in, if that is due. Called every half minute or so.

        :raises SecretError: it cannot be renewed.
        """

    def close(self) -> None:
        """Give back what lets us in. Safe to call twice."""


class Store(Protocol):
    """One place where secrets are kept. Its fields are its configuration."""

    @property
    def refresh(self) -> float:
        """Seconds after which a secret that is in use is read again."""

    def open(self) -> Door:
        """Be let in.

        :raises SecretError: the store is not there, or does not let us in.
        """
