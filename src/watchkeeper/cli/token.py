"""API tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from watchkeeper.cli._terminal import Output, emit, now, say, stamp
from watchkeeper.errors import AccessError

if TYPE_CHECKING:
    from watchkeeper.access.accounts import Token
    from watchkeeper.model import Millis

RoleName = Literal["agent", "viewer", "operator", "approver", "admin"]


def token(
    action: Literal["list", "create", "revoke", "rotate"] = "list",
    name: str = "",
    /,
    *,
    role: RoleName | None = None,
    expires: str = "90d",
    grace: str = "0",
    data: Path = Path("watchkeeper-data"),
    config: tuple[Path, ...] = (),
    output: Output = "text",
) -> int:
    """Create, list, rotate and revoke API tokens, also while the service runs.

    A new token is printed once, on stdout, and kept nowhere: hand it to its owner at once. What a
    role may is in docs/access.md; `agent` may push telemetry and nothing else.

    Examples:

      watchkeeper token create rack-7 --role agent
      watchkeeper token create grafana --role viewer --expires never
      watchkeeper token rotate k3q5x7ab --grace 1h
      watchkeeper token revoke k3q5x7ab

    Parameters
    ----------
    action
        list, create, revoke or rotate.
    name
        What a new token is called; the id of one to revoke or rotate.
    role
        What a new token may do: agent, viewer, operator, approver or admin.
    expires
        How long a new token lives, such as 90d, or never.
    grace
        How long the secret before a rotation holds, such as 1h.
    data
        Folder of journal and ledger.
    config
        Configuration whose access: has the environment that stands in tokens.
    output
        text or json.
    """
    from watchkeeper.access import Role
    from watchkeeper.access.desk import Desk
    from watchkeeper.cli._access import accounts_of, me
    from watchkeeper.cli._house import configured

    with accounts_of(data) as accounts:
        if action == "list":
            return _list(list(accounts.book().tokens.values()), output)
        if not name:
            raise AccessError(f"token {action}: which one?", hint=f"token {action} NAME")
        desk = Desk(accounts, me(), "command line")
        if action == "revoke":
            one = desk.revoke_token(name, now())
            emit(output, one.facts(now(), stamp), f"token {one.id} is revoked")
            return 0
        environment = configured(config).access.environment
        if action == "rotate":
            one, text = desk.rotate_token(name, environment, now(), _span(grace))
        elif role is None:
            raise AccessError("token create: for what?", hint="--role agent, viewer, operator, …")
        else:
            life = None if expires == "never" else _span(expires)
            one, text = desk.create_token(name, Role(role), environment, now(), life)
        if output == "text":
            until = "does not expire" if one.expires is None else f"until {stamp(one.expires)}"
            say(f"token {one.id} {one.name!r}, {one.role}, {until}; shown this once:")
        emit(output, {**one.facts(now(), stamp), "token": text}, text)
        return 0


def _list(found: list[Token], output: Output) -> int:
    at = now()
    rows = [one.facts(at, stamp) for one in found]
    lines = [
        f"{row['id']}  {row['state']:<8} {row['role']:<9} {row['name']:<20}"
        f" expires {row['expires'] or 'never':<21} used {row['last_used'] or 'never'}"
        for row in rows
    ]
    hint = "no tokens; `watchkeeper token create NAME --role agent` makes one"
    emit(output, {"tokens": rows}, "\n".join(lines) or hint)
    return 0


def _span(text: str) -> Millis:
    from watchkeeper.config import read_duration
    from watchkeeper.model import Millis

    millis = read_duration(text)
    if millis is None:
        raise AccessError(f"{text!r} is no duration", hint="write 30m, 12h or 90d")
    return Millis(millis)
