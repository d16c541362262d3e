"""The signed head: the newest link, kept outside the ledger, so that a cut tail shows.

`<ledger>.head` is one line of JSON, {seq, hash, count, hmac}: the HMAC-SHA256 of the other three
under a key of 32 random bytes that only the owner can read. It is written after the commit, so a
crash may leave it behind the ledger, never ahead. A head ahead of its ledger means that links
were removed, or that an older copy took the ledger's place.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from watchkeeper.errors import StoreError, VerifyError
from watchkeeper.model import canonical
from watchkeeper.store import file

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Head:
    """The newest signed link, and how many there are up to it."""

    seq: int
    hash: str
    count: int


def signing_key(path: Path, create: bool) -> bytes:
    """Return the key; make it when the ledger is new.

    :raises StoreError: the key is missing, cut, or may not be read.
    """
    if create and not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(path, secrets.token_bytes(KEY_BYTES), "key")
    try:
        key = path.read_bytes()
    except OSError as error:
        raise StoreError(
            f"{path}: the ledger's signing key cannot be read ({error.strerror})",
            hint="restore it from a backup, or run as the ledger's owner",
        ) from error
    if len(key) != KEY_BYTES:
        raise StoreError(
            f"{path}: a signing key has {KEY_BYTES} bytes, this file has {len(key)}",
            hint="restore it from a backup",
        )
    return key


def write_head(path: Path, key: bytes, head: Head) -> None:
    """Replace the head, whole or not at all.

    The rename is not forced to disk: losing it leaves an older head, which is allowed.

    :raises OSError: the disk is full or failed; the old head stands.
    """
    signed = {**asdict(head), "hmac": _signature(key, head)}
    _replace(path, (canonical(signed) + "\n").encode(), "head")


def read_head(path: Path, key: bytes) -> Head | None:
    """Return the signed head; None when there is none.

    :raises VerifyError: the head is not what was signed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise VerifyError(f"{path}: the signed head cannot be read: {error}") from error
    try:
        found = json.loads(text)
        head = Head(int(found["seq"]), str(found["hash"]), int(found["count"]))
        honest = hmac.compare_digest(str(found["hmac"]).encode(), _signature(key, head).encode())
    except (ValueError, KeyError, TypeError):
        honest = False
    if not honest:
        raise VerifyError(
            f"{path}: the head of the ledger is not signed by this ledger's key",
            hint="the head or the key was changed; compare both with a backup",
        )
    return head


def _signature(key: bytes, head: Head) -> str:
    return hmac.new(key, canonical(asdict(head)).encode(), hashlib.sha256).hexdigest()


def _replace(path: Path, content: bytes, what: str) -> None:
    """Write beside, force to disk, rename; readable by the owner only."""
    beside = path.with_name(f"{path.name}.new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)
    file.crash_point(f"ledger.{what}_written")
    beside.replace(path)
    file.crash_point(f"ledger.{what}_replaced")
