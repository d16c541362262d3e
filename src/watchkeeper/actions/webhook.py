"""Post the order as JSON to any receiver, signed so that the receiver can trust it.

The body is the order's payload, byte for byte the same on every attempt. `Idempotency-Key` (IETF
draft-ietf-httpapi-idempotency-key-header) and `webhook-id` carry the order's key, so a receiver
that remembers keys acts once. With a secret, the request is signed as Standard Webhooks 1.0 says
(standardwebhooks.com): `webhook-signature: v1,base64(HMAC-SHA256(secret, id.timestamp.body))`;
any of its libraries verifies it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from watchkeeper.actions._post import Unknown, address, post, shown_url, words_of
from watchkeeper.errors import ActionRetry, ConfigError
from watchkeeper.exchange import checked_url
from watchkeeper.model import Order
from watchkeeper.observe.spans import here
from watchkeeper.secret import Secret, changed

OURS = frozenset(
    {"host", "content-length", "content-type", "idempotency-key", "transfer-encoding"}
    | {"webhook-id", "webhook-timestamp", "webhook-signature"}
)


@dataclass(frozen=True)
class Webhook:
    """A receiver of orders as JSON.

    :param url: where to post; redirects are not followed. Only its host is ever printed.
    :param secret: signs each request when given; `whsec_…` is base64, anything else is taken as
        it is. Never printed.
    :param headers: more request headers, such as Authorization. Values are never printed.
    :param timeout: seconds for the whole exchange.
    :raises ConfigError: the URL, the secret or a header cannot be used.
    """

    url: Secret = field(repr=False)
    secret: Secret = Secret()
    headers: Mapping[str, Secret] = field(default_factory=dict)
    timeout: float = 10.0

    def __post_init__(self) -> None:
        checked_url(self.url.reveal())
        _key(self.secret.reveal())
        if not self.timeout > 0:
            raise ConfigError(f"webhook: timeout {self.timeout} is not above 0 seconds")
        for name, value in self.headers.items():
            if name.lower() in OURS:
                raise ConfigError(f"webhook: header {name!r} is set by watchkeeper")
            text = name + value.reveal()
            if not text.isprintable() or not text.isascii():
                raise ConfigError(f"webhook: header {name!r} holds characters HTTP cannot carry")

    def __repr__(self) -> str:
        where = shown_url(self.url.reveal())
        secret = f", secret={self.secret}" if self.secret else ""
        names = f", headers={sorted(self.headers)}" if self.headers else ""
        return f"Webhook(url={where}/…{secret}{names}, timeout={self.timeout:g})"

    def perform(self, order: Order) -> str:
        """Post the payload once; any 2xx is done.

        :raises ActionRetry: 408, 425, 429, 5xx, no whole answer in time, or a refusal of secrets
            that have changed since.
        :raises ActionRefused: any other answer.
        """
        try:
            return self._posted(order)
        except Unknown as error:
            if not changed((self.url, self.secret, *self.headers.values())):
                raise
            hint = "the secret has changed since; trying with the new one"
            raise ActionRetry(str(error.args[0]), hint=hint) from None

    def _posted(self, order: Order) -> str:
        body = order.payload.encode()
        url, secret = address(self.url), self.secret.reveal()
        headers = {
            **{name: value.reveal() for name, value in self.headers.items()},
            "Content-Type": "application/json",
            "Idempotency-Key": order.key,
            "webhook-id": order.key,
        }
        working = here()[0]
        if working.sampled:  # so that what the receiver does is seen in the same trace
            headers["traceparent"] = working.traceparent
        if secret:
            # The time of sending, not of the order: receivers refuse what is older than minutes.
            timestamp = int(time.time())
            headers["webhook-timestamp"] = str(timestamp)
            headers["webhook-signature"] = signature(secret, order.key, timestamp, body)
        answer = post(url, body, headers, self.timeout, self._secrets(url))
        return f"HTTP {answer.status} from {shown_url(url)}"

    def _secrets(self, url: str) -> list[str]:
        words = [word for value in self.headers.values() for word in value.reveal().split()]
        return [self.secret.reveal(), *(word for word in words if len(word) >= 8), *words_of(url)]


def signature(secret: str, identifier: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`.

    :param timestamp: seconds since 1970.
    """
    signed = f"{identifier}.{timestamp}.".encode() + body
    mac = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(mac).decode()


def _key(secret: str) -> bytes:
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ConfigError(
            "webhook: the secret begins with whsec_ but is not base64",
            hint="write whsec_ and 24 to 64 random bytes in base64, or any other text",
        ) from None


plugin = Webhook
