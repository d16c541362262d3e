"""What makes something a store of secrets.

    for check in secrets_checks():
        check(store, kept)

The store must be there, with one secret in it: `kept` says where, which part, and its text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from watchkeeper.errors import SecretError
from watchkeeper.secrets import Keeper, Reference, Store


class Kept(NamedTuple):
    """One secret that the store has."""

    path: str
    key: str
    text: str


StoreCheck = Callable[[Store, Kept], None]


def secrets_checks() -> Iterator[StoreCheck]:
    """Yield the behaviours of every store."""
    yield check_what_is_kept_is_fetched
    yield check_what_is_not_kept_is_an_error_that_names_it
    yield check_it_shows_nothing
    yield check_renewing_at_any_time_is_safe
    yield check_closing_twice_is_safe


def check_what_is_kept_is_fetched(store: Store, kept: Kept) -> None:
    """The text comes as it is kept, every time."""
    door = store.open()
    assert [door.fetch(kept.path, kept.key) for _ in range(2)] == [kept.text] * 2
    door.close()


def check_what_is_not_kept_is_an_error_that_names_it(store: Store, kept: Kept) -> None:
    """An operator sees which secret is missing, and no other's text."""
    door = store.open()
    try:
        door.fetch("nobody-keeps-this", kept.key)
    except SecretError as error:
        said = str(error)
    else:
        raise AssertionError("something was fetched that nobody keeps")
    assert "nobody-keeps-this" in said
    assert kept.text not in said
    door.close()


def check_it_shows_nothing(store: Store, kept: Kept) -> None:
    """Neither the store nor what it hands out prints a secret."""
    keeper = Keeper()
    keeper.adopt({"here": store})
    secret = keeper.secret(Reference("here", kept.path, kept.key))
    assert secret.reveal() == kept.text
    assert kept.text not in f"{store!r} {secret!r} {secret} {keeper!r} {keeper.failing}"
    keeper.close()


def check_renewing_at_any_time_is_safe(store: Store, kept: Kept) -> None:
    """What lets us in may be renewed whenever, and secrets can be read after it."""
    assert store.refresh > 0
    door = store.open()
    door.keep()
    assert door.fetch(kept.path, kept.key) == kept.text
    door.close()


def check_closing_twice_is_safe(store: Store, kept: Kept) -> None:
    """A keeper closes what it opened, whatever happened before."""
    door = store.open()
    door.close()
    door.close()
