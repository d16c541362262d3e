"""The secret store of the desktop or the login session, through the library `keyring`."""

from __future__ import annotations

from dataclasses import dataclass

from watchkeeper.errors import SecretError
from watchkeeper.secrets._part import library


@dataclass(frozen=True)
class Keyring:
    """A keyring; `path` is the service, `key` the name of the user.

    :param refresh: seconds after which a secret is read again.
    """

    refresh: float = 300.0

    def open(self) -> Keyring:
        """Find the library.

        :raises SecretError: it is not installed.
        """
        library("keyring", "keyring")
        return self

    def fetch(self, path: str, key: str) -> str:
        """Return one password.

        :raises SecretError: there is none, or the keyring is locked.
        """
        rings = library("keyring", "keyring")
        try:
            text = rings.get_password(path, key)
        except rings.errors.KeyringError as error:
            raise SecretError(f"keyring: {type(error).__name__} at {path!r}") from None
        if text is None:
            raise SecretError(f"keyring: nothing for {key!r} at {path!r}")
        return str(text)

    def keep(self) -> None:
        """Nothing to renew."""

    def close(self) -> None:
        """Nothing to close."""


plugin = Keyring
