"""Bearer tokens of an identity provider: who signed them, for whom, until when, and for what role.

The provider's keys are kept; a token signed by a key we do not know makes us look once more, at
most once in a minute, so that strangers cannot make us ask the provider for each of theirs.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpcore
import structlog

from watchkeeper.access import ROLES, Asker, Role
from watchkeeper.access.settings import OpenId
from watchkeeper.errors import ConfigError, Unauthenticated
from watchkeeper.exchange import Bounded, trust, why
from watchkeeper.model import Millis

log = structlog.get_logger("watchkeeper")

LEEWAY = 60  # seconds that clocks may differ
TOKEN_MAX, NAME_MAX = 16 << 10, 200
KEYS_MAX = 1 << 20  # bytes of a key set
FRESH = 3_600.0  # seconds after which keys are fetched again
AGAIN = 60.0  # seconds between two attempts
DEADLINE = 5.0
TROUBLE = (OSError, ValueError, httpcore.NetworkError, httpcore.TimeoutException)
CHECKED_MAX = 1_000  # tokens whose signature was found right


class Provider:
    """Checks tokens of one provider; any thread may use it."""

    def __init__(self, settings: OpenId) -> None:
        try:
            import joserfc  # noqa: F401
        except ImportError:
            raise ConfigError(
                "openid needs joserfc", hint="pip install watchkeeper[oidc]"
            ) from None
        self._settings = settings
        self._keys: Any = None
        self._fetched, self._tried = -math.inf, -math.inf
        self._lock = threading.Lock()
        self._checked: OrderedDict[bytes, tuple[int, Asker]] = OrderedDict()

    def asker(self, token: str, now: Millis) -> Asker:
        """Return whose token this is.

        :raises Unauthenticated: it is not signed by the provider, not for us, not valid now, or
            stands for no role.
        """
        key = hashlib.sha256(token.encode()).digest()
        known = self._checked.get(key)
        if known is not None and now < known[0] * 1000:
            return known[1]
        if len(token) > TOKEN_MAX:
            raise Unauthenticated("the token is too long")
        claims = self._claims(token, now)
        asker = self._of(claims)
        with self._lock:
            self._checked[key] = (int(claims["exp"]), asker)
            while len(self._checked) > CHECKED_MAX:
                self._checked.popitem(last=False)
        return asker

    def _claims(self, token: str, now: Millis) -> Mapping[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError

        settings = self._settings
        rules = jwt.JWTClaimsRegistry(
            now=now // 1000,
            leeway=LEEWAY,
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "value": settings.audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        for again in (False, True):
            keys = self._key_set(again)
            try:
                found = jwt.decode(token, keys, algorithms=list(settings.algorithms))
                rules.validate(found.claims)
            except (JoseError, ValueError, KeyError, TypeError) as error:
                if again or not _unknown_key(token, keys):
                    raise Unauthenticated(f"openid: {type(error).__name__}") from None
                continue
            return found.claims
        raise AssertionError("one of two attempts tells")

    def _of(self, claims: Mapping[str, Any]) -> Asker:
        told: Any = claims
        for step in self._settings.claim.split("."):
            told = told.get(step) if isinstance(told, Mapping) else None
        words = [told] if isinstance(told, str) else told if isinstance(told, list) else []
        roles = [
            Role(self._settings.roles[word])
            for word in words
            if isinstance(word, str) and word in self._settings.roles
        ]
        if not roles:
            raise Unauthenticated("openid: the token stands for no role here")
        role = max(roles, key=list(Role).index)  # one only: two would be two people in one
        name = str(claims.get("preferred_username") or claims["sub"])[:NAME_MAX]
        return Asker(f"openid:{claims['sub']}"[:NAME_MAX], ROLES[role], role, "", name)

    def _key_set(self, unknown: bool) -> Any:
        """Return the provider's keys; fetched again when old, or when one is unknown."""
        with self._lock:
            now = time.monotonic()
            wanted = unknown or now - self._fetched > FRESH
            if wanted and now - self._tried > AGAIN:
                self._tried = now
                try:
                    self._keys = _key_set(self._settings.keys)
                    self._fetched = now
                except TROUBLE as error:
                    log.warning("openid_keys_failed", error=why(error))
            if self._keys is None:
                raise Unauthenticated("openid: no keys of the provider yet")
            return self._keys


def _unknown_key(token: str, keys: Any) -> bool:
    from joserfc import jws
    from joserfc.errors import JoseError

    try:
        kid = jws.extract_compact(token.encode()).headers().get("kid")
    except (JoseError, ValueError):
        return False
    return kid is not None and kid not in [key.kid for key in keys.keys]


def _key_set(where: str) -> Any:
    """Return a key set without what is no public key for signatures.

    :raises OSError: it cannot be read. :raises ValueError: it is none.
    """
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    body = _fetched(where) if "://" in where else Path(where).read_bytes()
    if len(body) > KEYS_MAX:
        raise ValueError("the key set is too large")
    told = json.loads(body)
    try:
        keys = [k for k in told["keys"] if k.get("kty") != "oct" and k.get("use") in (None, "sig")]
        return KeySet.import_key_set({"keys": keys})
    except (JoseError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a key set: {error}") from None


def _fetched(url: str) -> bytes:
    backend = Bounded(time.monotonic() + DEADLINE)
    with (
        httpcore.ConnectionPool(ssl_context=trust(), network_backend=backend) as pool,
        pool.stream("GET", url, headers={"Accept": "application/json"}) as answer,
    ):
        if answer.status != 200:
            raise ValueError(f"the provider answered {answer.status}")
        body = b""
        for part in answer.iter_stream():
            body += part
            if len(body) > KEYS_MAX:
                raise ValueError("the key set is too large")
        return body
