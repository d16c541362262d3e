"""A text that is used and never shown.

Wherever a value is printed, logged, formatted, compared in a message, dumped, pickled or listed in
a traceback, a secret says `<secret>`. The text itself comes out at one place, `reveal`, which only
the edges call, at the moment they need it and without keeping it: so a secret that is changed
where it is kept is used from the next call on.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from watchkeeper.errors import WatchkeeperError

SHOWN = "<secret>"


class Secret:
    """One secret: a text, or where to read it.

    Two of one origin are the same object; texts written down are equal when they are the same.

    :param origin: the text, or a function that reads it where it is kept.
    """

    __slots__ = ("__weakref__", "_read", "_text")

    def __init__(self, origin: str | Callable[[], str] = "") -> None:
        self._read = None if isinstance(origin, str) else origin
        self._text = origin if isinstance(origin, str) else None

    def reveal(self) -> str:
        """Return the text; the first time, it is read where it is kept.

        :raises SecretError: it cannot be had.
        """
        if self._text is None:
            self.renew()
        return self._text or ""

    def renew(self) -> bool:
        """Read it again where it is kept; return whether it has changed.

        :raises SecretError: it cannot be had; what was read before goes on to hold.
        """
        if self._read is None:
            return False
        before, self._text = self._text, self._read()
        return before is not None and before != self._text

    def __bool__(self) -> bool:
        """Whether there is one at all; what is kept elsewhere is not read for this."""
        return self._read is not None or bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        if self._read is not None or other._read is not None:
            return self is other
        return hmac.compare_digest((self._text or "").encode(), (other._text or "").encode())

    def __hash__(self) -> int:
        return hash(Secret)

    def __repr__(self) -> str:
        return SHOWN if self else "<no secret>"

    def __format__(self, form: str) -> str:
        return format(repr(self), form)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written down")


def hidden(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with each of the secrets in it replaced: a stranger may echo what we sent."""
    for word in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(word, SHOWN)
    return text


def changed(secrets: Iterable[Secret]) -> bool:
    """Read secrets again, as when a receiver refused them; return whether any has changed."""
    found = False
    for secret in secrets:
        try:
            found |= secret.renew()
        except WatchkeeperError:
            continue  # whoever keeps it renews it on his own rounds and tells why he cannot
    return found
