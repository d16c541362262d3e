"""Google Cloud Secret Manager, through Google's own SDK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from watchkeeper.errors import SecretError
from watchkeeper.secrets._part import library, part


@dataclass(frozen=True)
class Gcp:
    """Secret Manager; `path` is a secret's name, `key` a part of the JSON in it.

    Who we are is found as the SDK does (Application Default Credentials).

    :param project: the project the secrets belong to.
    :param version: which version of a secret.
    :param endpoint: another address, `https://host`, such as that of a region; plain
        `http://` is for emulators, which are asked without credentials.
    :param timeout: seconds one question may take.
    :param refresh: seconds after which a secret is read again.
    """

    project: str
    version: str = "latest"
    endpoint: str = ""
    timeout: float = 5.0
    refresh: float = 300.0

    def open(self) -> Opened:
        """Find out who we are.

        :raises SecretError: the SDK is not installed, or finds no credentials.
        """
        return Opened(self)


class Opened:
    """A client of Secret Manager."""

    def __init__(self, gcp: Gcp) -> None:
        self._gcp = gcp
        manager = library("google.cloud.secretmanager_v1", "gcp")
        auth = library("google.auth", "gcp")
        anonymous = library("google.auth.credentials", "gcp").AnonymousCredentials
        kind = manager.SecretManagerServiceClient
        scheme, _, host = gcp.endpoint.rpartition("://")
        given = {"url_scheme": scheme or "https"} | ({"host": host} if host else {})
        if scheme == "http":
            given["credentials"] = anonymous()
        try:
            # REST, not gRPC: it needs nothing compiled, and proxies understand it.
            self._client: Any = kind(transport=kind.get_transport_class("rest")(**given))
        except auth.exceptions.GoogleAuthError as error:
            raise SecretError(
                f"gcp: {type(error).__name__}", hint="gcloud auth application-default login"
            ) from None

    def fetch(self, path: str, key: str) -> str:
        """Return one secret.

        :raises SecretError: it is not there, not for us, or the service cannot be asked.
        """
        name = f"projects/{self._gcp.project}/secrets/{path}/versions/{self._gcp.version}"
        core = library("google.api_core.exceptions", "gcp")
        auth = library("google.auth.exceptions", "gcp")
        requests = library("requests", "gcp")
        try:
            found = self._client.access_secret_version(
                request={"name": name}, timeout=self._gcp.timeout, retry=None
            )
            text = found.payload.data.decode()
        except (core.GoogleAPIError, auth.GoogleAuthError, requests.RequestException) as error:
            raise SecretError(f"gcp: {path!r}: {type(error).__name__}") from None
        except UnicodeDecodeError:
            raise SecretError(f"gcp: {path!r} is no text") from None
        return part("gcp", path, text, key)

    def keep(self) -> None:
        """The SDK renews by itself."""

    def close(self) -> None:
        """Close its connections."""
        self._client.transport.close()


plugin = Gcp
