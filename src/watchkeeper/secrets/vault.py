"""HashiCorp Vault and OpenBao: key-value secrets of version 2, through the library `hvac`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from watchkeeper.errors import ConfigError, SecretError
from watchkeeper.exchange import checked_url
from watchkeeper.secret import Secret
from watchkeeper.secrets._part import chosen, library

RENEW_AT = 2 / 3  # of a token's life
KEY = "value"


@dataclass(frozen=True)
class Vault:
    """A Vault; `path` is that of a secret below the mount, `key` one of its fields (`value`).

    One is let in by a token, or by an AppRole's role and secret id. What lets us in is renewed
    after two thirds of its life; an AppRole logs in again when its token can be renewed no more.

    :param address: its URL.
    :param mount: where the key-value engine of version 2 is mounted.
    :param token: a token that may read the secrets.
    :param role_id: the AppRole to log in as. :param secret_id: its secret id.
    :param auth_mount: where the AppRole method is mounted.
    :param namespace: of Vault Enterprise.
    :param ca_file: certificates (PEM) of the authorities to believe instead of the system's.
    :param timeout: seconds one question may take.
    :param refresh: seconds after which a secret is read again.
    :raises ConfigError: no way to be let in, or two.
    """

    address: str
    mount: str = "secret"
    token: Secret = Secret()
    role_id: str = ""
    secret_id: Secret = Secret()
    auth_mount: str = "approle"
    namespace: str = ""
    ca_file: str = ""
    timeout: float = 5.0
    refresh: float = 300.0

    def __post_init__(self) -> None:
        checked_url(self.address)
        if bool(self.token) == bool(self.role_id):
            raise ConfigError("vault: give either a token, or role_id and secret_id")
        if self.role_id and not self.secret_id:
            raise ConfigError("vault: role_id needs a secret_id")

    def open(self) -> Opened:
        """Be let in.

        :raises SecretError: hvac is not installed, or Vault does not let us in.
        """
        return Opened(self)


class Opened:
    """A Vault that let us in."""

    def __init__(self, vault: Vault) -> None:
        self._vault, self._hvac = vault, library("hvac", "vault")
        session = library("requests", "vault").Session()
        session.trust_env = False  # no proxy and no .netrc of whoever started us
        self._client = self._hvac.Client(
            url=vault.address,
            verify=vault.ca_file or True,
            timeout=vault.timeout,
            namespace=vault.namespace or None,
            session=session,
            allow_redirects=False,
        )
        self._renew_at = float("inf")
        self._enter()

    def fetch(self, path: str, key: str) -> str:
        """Return one field of a secret; after a refusal an AppRole logs in once more.

        :raises SecretError: it is not there, or not for us.
        """
        try:
            found = self._read(path)
        except self._hvac.exceptions.Forbidden:
            self._enter()
            found = self._asked(lambda: self._read(path), path)
        except self._failures() as error:
            raise _said(self._vault, path, error) from None
        return chosen("vault", path, found["data"]["data"], key or KEY)

    def keep(self) -> None:
        """Renew the token when two thirds of its life are over.

        :raises SecretError: it cannot be renewed, and there is no other way in.
        """
        if time.monotonic() < self._renew_at:
            return
        try:
            self._lasts(self._client.auth.token.renew_self()["auth"])
        except self._failures() as error:
            if not self._vault.role_id:
                raise _said(self._vault, "the token", error) from None
            self._enter()

    def close(self) -> None:
        """Give back the token of an AppRole; a token that was given stays as it is."""
        if self._vault.role_id and self._client.token:
            try:
                self._client.auth.token.revoke_self()
            except self._failures():
                pass  # it ends by itself
            self._client.token = None
        self._client.adapter.close()

    def _enter(self) -> None:
        vault = self._vault
        if not vault.role_id:
            self._client.token = vault.token.reveal()
            life = self._asked(self._client.auth.token.lookup_self, "the token")["data"]
            self._lasts({"lease_duration": life["ttl"], "renewable": life.get("renewable")})
            return
        self._client.token = None
        role = {"role_id": vault.role_id, "secret_id": vault.secret_id.reveal()}
        answer = self._asked(
            lambda: self._client.auth.approle.login(**role, mount_point=vault.auth_mount),
            "the AppRole",
        )
        self._lasts(answer["auth"])

    def _lasts(self, auth: Any) -> None:
        """Remember when to renew; never, when it lives for ever or cannot be renewed."""
        life = float(auth["lease_duration"] or 0)
        again = bool(auth.get("renewable")) or bool(self._vault.role_id)
        self._renew_at = time.monotonic() + life * RENEW_AT if life and again else float("inf")

    def _read(self, path: str) -> Any:
        return self._client.secrets.kv.v2.read_secret_version(
            path, mount_point=self._vault.mount, raise_on_deleted_version=True
        )

    def _asked(self, question: Any, what: str) -> Any:
        try:
            return question()
        except self._failures() as error:
            raise _said(self._vault, what, error) from None

    def _failures(self) -> tuple[type[Exception], ...]:
        requests = library("requests", "vault")
        return (self._hvac.exceptions.VaultError, requests.RequestException, KeyError, TypeError)


def _said(vault: Vault, what: str, error: Exception) -> SecretError:
    """Return what went wrong, by its kind: a server may repeat in words what it was sent."""
    hints = {
        "Forbidden": "does its policy allow reading this path?",
        "InvalidPath": "is there such a secret at this mount, of engine version 2?",
        "ConnectionError": "is it up, and does the address lead to it?",
        "ConnectTimeout": "is it up, and does the address lead to it?",
        "VaultDown": "it is sealed",
    }
    kind = type(error).__name__
    return SecretError(f"vault {vault.address}: {what}: {kind}", hint=hints.get(kind, ""))


plugin = Vault
