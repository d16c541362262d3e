"""The doorkeeper of a running house, and the accounts of a data folder."""

from __future__ import annotations

import getpass
import ipaddress
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from watchkeeper.cli._terminal import now
from watchkeeper.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from watchkeeper.access.accounts import Accounts
    from watchkeeper.access.doorkeeper import Doorkeeper
    from watchkeeper.config import Config
    from watchkeeper.ledger import Ledger

ACCOUNTS_EVERY = 2.0  # seconds between rounds of what need not be written at once


@contextmanager
def accounts_of(data: Path) -> Iterator[Accounts]:
    """Open the accounts of a data folder, and close them again."""
    from watchkeeper.access.accounts import Accounts

    accounts = Accounts(data)
    try:
        yield accounts
    finally:
        accounts.close()


def me() -> str:
    """Return who uses the command line, as the system knows him."""
    try:
        return f"local:{getpass.getuser()}"
    except (KeyError, OSError):  # a user without a name, as in some containers
        return f"local:{os.getuid()}"


@contextmanager
def doorkeeper(settings: Config, ledger: Ledger) -> Iterator[Doorkeeper]:
    """Know who may ask, for as long as the house stands.

    :raises ConfigError: the house is open to others, and nobody could be known.
    """
    from watchkeeper.access.accounts import Accounts
    from watchkeeper.access.audit import Audit
    from watchkeeper.access.doorkeeper import Doorkeeper, quietly

    accounts, stop = Accounts(settings.data), threading.Event()
    try:
        local = is_loopback(settings.listen.host)
        keeper = Doorkeeper(
            settings.access,
            accounts,
            Audit(accounts, ledger),
            now,
            local=local,
            openid=settings.openid,
        )
        if not local and not keeper.known():
            raise ConfigError(
                f"listen: {settings.listen} is not loopback, and nobody is known who may ask",
                hint=f"watchkeeper user add NAME --role admin --data {settings.data}",
            )
        rounds = threading.Thread(
            target=quietly, args=(keeper.round, stop, ACCOUNTS_EVERY), name="accounts", daemon=True
        )
        rounds.start()
        try:
            yield keeper
        finally:
            stop.set()
            rounds.join()
            keeper.round()
    finally:
        accounts.close()


def own_name(host: str) -> list[str]:
    """Return the address one listens on as a client names it; an address of all is none."""
    try:
        if ipaddress.ip_address(host).is_unspecified:
            return []
    except ValueError:
        return [host]
    return [f"[{host}]" if ":" in host else host]


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
