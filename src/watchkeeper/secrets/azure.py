"""Azure Key Vault, through Microsoft's own SDK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from watchkeeper.errors import ConfigError, SecretError
from watchkeeper.exchange import checked_url
from watchkeeper.secret import Secret
from watchkeeper.secrets._part import library, part


@dataclass(frozen=True)
class Azure:
    """A Key Vault; `path` is a secret's name, `key` a part of the JSON in it.

    Who we are is found as the SDK does (environment, workload or managed identity), unless an
    application is given.

    :param vault_url: the vault's URL, https.
    :param tenant_id: the directory of the application. :param client_id: the application.
    :param client_secret: the application's secret.
    :param authority: another login service, such as that of a national cloud.
    :param ca_file: certificates (PEM) of the authorities to believe instead of the system's.
    :param timeout: seconds one question may take.
    :param refresh: seconds after which a secret is read again.
    :raises ConfigError: half an application.
    """

    vault_url: str
    tenant_id: str = ""
    client_id: str = ""
    client_secret: Secret = Secret()
    authority: str = ""
    ca_file: str = ""
    timeout: float = 5.0
    refresh: float = 300.0

    def __post_init__(self) -> None:
        checked_url(self.vault_url)
        if self.client_secret and not (self.tenant_id and self.client_id):
            raise ConfigError("azure: client_secret needs tenant_id and client_id")

    def open(self) -> Opened:
        """Find out who we are.

        :raises SecretError: the SDK is not installed.
        """
        return Opened(self)


class Opened:
    """A client of one Key Vault."""

    def __init__(self, azure: Azure) -> None:
        identity = library("azure.identity", "azure")
        vaults = library("azure.keyvault.secrets", "azure")
        self._failures = library("azure.core.exceptions", "azure")
        own = {"connection_verify": azure.ca_file or True, "retry_total": 1}
        who: dict[str, Any] = {"authority": azure.authority} if azure.authority else {}
        if azure.client_secret:
            who |= {"disable_instance_discovery": bool(azure.authority)}
            self._who: Any = identity.ClientSecretCredential(
                azure.tenant_id, azure.client_id, azure.client_secret.reveal(), **who, **own
            )
        else:
            self._who = identity.DefaultAzureCredential(**who)
        self._client: Any = vaults.SecretClient(
            azure.vault_url,
            self._who,
            connection_timeout=azure.timeout,
            read_timeout=azure.timeout,
            # A vault behind a private name answers with the challenge of its public one.
            verify_challenge_resource=not azure.authority,
            **own,
        )

    def fetch(self, path: str, key: str) -> str:
        """Return one secret.

        :raises SecretError: it is not there, not for us, or the vault cannot be asked.
        """
        try:
            text = self._client.get_secret(path).value
        except (self._failures.AzureError, ValueError) as error:
            raise SecretError(f"azure: {path!r}: {type(error).__name__}") from None
        if text is None:
            raise SecretError(f"azure: {path!r} has no value")
        return part("azure", path, text, key)

    def keep(self) -> None:
        """The SDK renews by itself."""

    def close(self) -> None:
        """Close its connections."""
        self._client.close()
        self._who.close()


plugin = Azure
