"""What an operator configures of access: `access:`, `openid:` and `tls:`."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from watchkeeper.access import Role
from watchkeeper.access.tokens import ENVIRONMENT
from watchkeeper.errors import ConfigError

ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)
_NAME = re.compile(r"[a-z0-9.-]{1,253}|\[[0-9a-f:.]+\]", re.ASCII)


@dataclass(frozen=True)
class OpenId:
    """Bearer tokens of an identity provider.

    :param issuer: exactly what the tokens say in `iss`; empty is no provider.
    :param audience: what they must be for (`aud`).
    :param keys: the provider's JWKS: an https URL or a file.
    :param algorithms: signatures taken; never a symmetric one, never none.
    :param claim: where the role is; a dot goes one deeper: `realm_access.roles`.
    :param roles: the claim's words and the roles they stand for; other words grant nothing.
    """

    issuer: str = ""
    audience: str = ""
    keys: str = ""
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    claim: str = "roles"
    roles: Mapping[str, Role] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.issuer:
            return
        for name in ("audience", "keys", "roles"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is missing", hint="docs/access.md has an example")
        if wrong := [name for name in self.algorithms if name not in ALGORITHMS]:
            raise ConfigError(
                f"algorithm {wrong[0]!r} is not taken",
                hint=f"known: {', '.join(ALGORITHMS)}",
            )
        if "://" in self.keys and not self.keys.startswith("https://"):
            raise ConfigError("keys must come over https, or from a file")


@dataclass(frozen=True)
class Access:
    """Who is let in.

    :param anonymous: what somebody without a credential may do on loopback: `local` reads and
        pushes telemetry, `none` nothing. Elsewhere it is always nothing.
    :param hosts: names under which this house is asked, beside those of loopback.
    :param environment: a word in each token, so that one of staging is not taken for production's.
    :param session: seconds after which people sign in again.
    :param idle: the same in seconds without a request.
    :param certificates: the common name of a client's certificate, and its role; `*` is any.
    """

    anonymous: Literal["local", "none"] = "local"
    hosts: tuple[str, ...] = ()
    environment: str = "prod"
    session: float = 43_200.0
    idle: float = 3_600.0
    certificates: Mapping[str, Role] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not ENVIRONMENT.fullmatch(self.environment):
            raise ConfigError("environment: 1 to 16 small letters and digits")
        for host in self.hosts:
            if not _NAME.fullmatch(host.lower()):
                raise ConfigError(f"hosts: {host!r} is no name and no address", hint="no port here")
        if not (0 < self.idle <= self.session <= 30 * 86_400):
            raise ConfigError("session: longer than idle, and 30 days at most")


@dataclass(frozen=True)
class Tls:
    """How the port is encrypted; without a certificate it is not.

    :param certificate: PEM file: the server's certificate and what leads to its authority.
    :param key: PEM file of its private key.
    :param client_ca: PEM file of the authorities whose certificates clients may show.
    :param client_certificate: `optional`, or `required` of every connection.
    """

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    client_certificate: Literal["optional", "required"] = "optional"

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("certificate and key come together")
        if self.client_ca is not None and self.certificate is None:
            raise ConfigError("client_ca without certificate and key")
        if self.client_certificate == "required" and self.client_ca is None:
            raise ConfigError("client_certificate is required, and no client_ca is given")

    def __bool__(self) -> bool:
        """Whether the port is encrypted."""
        return self.certificate is not None

    def pem(self) -> tuple[bytes, bytes, bytes | None]:
        """Return key, certificate, and the authorities of clients where those are required.

        :raises ConfigError: a file cannot be used.
        """
        self.context()  # tells in words what is wrong
        assert self.certificate is not None
        assert self.key is not None
        required = self.client_certificate == "required" and self.client_ca is not None
        clients = self.client_ca.read_bytes() if required and self.client_ca else None
        return self.key.read_bytes(), self.certificate.read_bytes(), clients

    def context(self) -> ssl.SSLContext:
        """Return what the server needs to speak TLS.

        :raises ConfigError: a file cannot be used.
        """
        assert self.certificate is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        context.set_alpn_protocols(["http/1.1"])
        context.options |= ssl.OP_NO_RENEGOTIATION
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                required = self.client_certificate == "required"
                context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        except OSError as error:  # an SSLError is one
            files = ", ".join(str(f) for f in (self.certificate, self.key, self.client_ca) if f)
            raise ConfigError(
                f"tls: {files}: {error.strerror or error}",
                hint="PEM files that this user can read; the key must be the certificate's",
            ) from None
        return context
