"""The key that packs are signed with: Ed25519, made on first use, beside the ledger's own."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from watchkeeper.errors import InputError, StoreError

KEY_BYTES = 32
PUBLIC = re.compile("[0-9a-f]{64}")


def private_key(path: Path) -> Ed25519PrivateKey:
    """Return the key; make it when there is none.

    :raises StoreError: it cannot be read or made, is cut, or others can read it.
    """
    try:
        if not path.exists():
            _make(path)
        mode, key = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise StoreError(
            f"{path}: the key that evidence is signed with cannot be had ({error.strerror})",
            hint="run as the owner of the data folder",
        ) from error
    if mode & 0o077:
        raise StoreError(
            f"{path}: others can read the key that evidence is signed with",
            hint="chmod 600, or move it away for a new one, and tell who holds the old public key",
        )
    if len(key) != KEY_BYTES:
        raise StoreError(
            f"{path}: a key has {KEY_BYTES} bytes, this file has {len(key)}",
            hint="restore it from a backup",
        )
    return Ed25519PrivateKey.from_private_bytes(key)


def public_text(key: Ed25519PrivateKey) -> str:
    """Return the public half as people pass it on: 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()


def is_signed(public: str, signature: bytes, body: bytes) -> bool:
    """Return whether `body` was signed by the key with this public half."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, body)
    except (InvalidSignature, ValueError):  # the latter: no key at all
        return False
    return True


def trusted(public: str) -> str:
    """Return a public key as someone typed it.

    :raises InputError: it is none.
    """
    if not PUBLIC.fullmatch(public):
        raise InputError(
            f"{public[:80]!r} is no public key", hint="one is 64 hexadecimal digits (0-9, a-f)"
        )
    return public


def _make(path: Path) -> None:
    """Make a key durably. Of two that do so at once, one is kept."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, Ed25519PrivateKey.generate().private_bytes_raw())
        os.fsync(handle)
    finally:
        os.close(handle)
    try:
        os.link(beside, path)
    except FileExistsError:
        pass
    finally:
        beside.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
