"""API tokens: `wk_<environment>_<id>_<secret>`, of which the secret is shown once and never kept.

The secret has 256 bits of chance, so a plain SHA-256 of it is as hard to turn round as any hash;
the slow ones are for passwords, and on each request of a program they would be a way to exhaust
this house. The fixed beginning lets scanners find tokens that leaked.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

ENVIRONMENT = re.compile(r"[a-z0-9]{1,16}", re.ASCII)
TOKEN = re.compile(r"wk_([a-z0-9]{1,16})_([a-z2-7]{8})_([A-Za-z0-9_-]{43})", re.ASCII)
LENGTH_MAX = 80  # of a token; longer is none
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


class Minted(NamedTuple):
    """A new token. :param text: all of it; for its owner only. :param digest: what is kept."""

    id: str
    text: str
    digest: bytes


def mint(environment: str, id: str = "") -> Minted:
    """Return a token nobody can guess.

    :param id: of a token that gets another secret; without, a new one is drawn.
    """
    assert ENVIRONMENT.fullmatch(environment), environment
    id = id or "".join(secrets.choice(_LETTERS) for _ in range(8))
    text = f"wk_{environment}_{id}_{secrets.token_urlsafe(32)}"
    return Minted(id, text, digest(text))


def digest(text: str) -> bytes:
    """Return what is kept of a token: enough to know it again, and no more."""
    return hashlib.sha256(text.encode()).digest()


def id_of(text: str) -> str:
    """Return the id in a token; empty when this is none."""
    match = TOKEN.fullmatch(text) if len(text) <= LENGTH_MAX else None
    return match[2] if match else ""


def same(one: bytes, other: bytes) -> bool:
    """Compare in a time that tells nothing of where they differ."""
    return hmac.compare_digest(one, other)
