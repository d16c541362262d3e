"""People who sign in."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Literal

from watchkeeper.cli._terminal import Output, emit, now, stamp
from watchkeeper.errors import AccessError

PersonRole = Literal["viewer", "operator", "approver", "admin"]


def user(
    action: Literal["list", "add", "passwd", "role", "remove"] = "list",
    name: str = "",
    /,
    *,
    role: PersonRole | None = None,
    data: Path = Path("watchkeeper-data"),
    output: Output = "text",
) -> int:
    """Add people, change their roles and passwords, also while the service runs.

    The password is asked for on a terminal, and is the first line of stdin anywhere else; it has
    at least 12 characters. A changed role holds at once; a changed password signs everybody out
    who is signed in under that name.

    Examples:

      watchkeeper user add ann --role admin
      watchkeeper user role ann --role operator
      watchkeeper user passwd ann < password.txt
      watchkeeper user remove ann

    Parameters
    ----------
    action
        list, add, passwd, role or remove.
    name
        Of the person.
    role
        What the person may do: viewer, operator, approver or admin.
    data
        Folder of journal and ledger.
    output
        text or json.
    """
    from watchkeeper.access import Role
    from watchkeeper.access.desk import Desk
    from watchkeeper.cli._access import accounts_of, me

    with accounts_of(data) as accounts:
        if action != "list":
            if not name:
                raise AccessError(f"user {action}: who?", hint=f"user {action} NAME")
            desk = Desk(accounts, me(), "command line")
            if action == "passwd":
                desk.set_password(name, _password(), now())
            elif action == "remove":
                desk.remove_person(name, now())
            elif role is None:
                raise AccessError(f"user {action}: which role?", hint="--role viewer, operator, …")
            elif action == "add":
                desk.add_person(name, Role(role), _password(), now())
            else:
                desk.set_role(name, Role(role), now())
        people = accounts.book().people
        rows = [
            {"name": one.name, "role": str(one.role), "created": stamp(one.created)}
            for one in people.values()
        ]
    text = "\n".join(f"{row['name']:<20} {row['role']:<9} since {row['created']}" for row in rows)
    hint = "nobody; `watchkeeper user add NAME --role admin` adds the first"
    emit(output, {"users": rows}, text or hint)
    return 0


def _password() -> str:
    """Ask twice on a terminal; take the first line anywhere else."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise AccessError("the two passwords differ", hint="try again")
    return password
