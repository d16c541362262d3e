"""Passwords of people: argon2id, and as much work for a name that does not exist."""

from __future__ import annotations

import argon2

from watchkeeper.errors import AccessError

LENGTH_MIN, LENGTH_MAX = 12, 1024

_hasher = argon2.PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=1)
# A salt and a hash of zeros: well-formed, as dear to compare with as any other, and never equal.
_of_nobody = (
    f"$argon2id$v=19$m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}"
    f"${'A' * 22}${'A' * 43}"
)


def hashed(password: str) -> str:
    """Return what is kept of a password.

    :raises AccessError: it is too short or too long.
    """
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        raise AccessError(
            f"a password has {LENGTH_MIN} to {LENGTH_MAX} characters",
            hint="several words are easier to remember than signs",
        )
    return _hasher.hash(password)


def holds(kept: str | None, password: str) -> bool:
    """Return whether this is the password; takes as long when there is none to compare with."""
    try:
        right = _hasher.verify(kept or _of_nobody, password[:LENGTH_MAX])
    except argon2.exceptions.VerificationError:
        return False
    return right and kept is not None
