"""Feature flags: what is on, and why; switch one on or off."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from watchkeeper.cli._terminal import Output, emit, now
from watchkeeper.errors import InputError, StoreLocked

if TYPE_CHECKING:
    from watchkeeper.flags import Flags

SECONDS = 15.0  # for the whole conversation with a running house


def flag(
    what: Literal["list", "on", "off"] = "list",
    name: str = "",
    /,
    *,
    reason: str = "",
    data: Path = Path("watchkeeper-data"),
    url: str = "http://127.0.0.1:8470",
    token_file: Path | None = None,
    output: Output = "text",
) -> int:
    """List feature flags, or switch one on or off.

    They say what reaches out, what acts and what is experimental. A flip is an input of the
    journal: it is audited, shows in every replay, and holds until the flag is flipped again or the
    configuration says something else. A running house is asked at its URL;
    otherwise the journal in the data folder is written to.

    Examples:

      watchkeeper flag list
      watchkeeper flag on action.webhook --reason "receiver is ready, CHG-1234"
      watchkeeper flag off source.snmp --reason "switch CPUs at 100 %"

    Parameters
    ----------
    what
        list, on or off.
    name
        The flag, such as source.scrape or action.webhook.
    reason
        Why; it is kept with the flip.
    data
        Folder of journal and ledger.
    url
        Where a running house answers.
    token_file
        File with the token to show a running house.
    output
        text or json.
    """
    if what == "list":
        from watchkeeper.cli._house import stores
        from watchkeeper.rerun import flags_now

        with stores(data) as (journal, ledger):
            flags = flags_now(journal, ledger)
        emit(output, _facts(flags), _text(flags))
        return 0
    if not name or not reason.strip():
        raise InputError("a flip needs the name of the flag and a reason", hint="--reason TEXT")
    on = what == "on"
    try:
        _written(data, name, on, reason)
        where = str(data)
    except StoreLocked:
        _told(url, name, on, reason, token_file)
        where = url
    emit(output, {"flag": name, "on": on, "at": where}, f"{name} is {what} ({where})")
    return 0


def _written(data: Path, name: str, on: bool, reason: str) -> None:
    """Write a flip to the journal of a house that does not run."""
    from watchkeeper.cli._house import stores
    from watchkeeper.flags import flip

    if not (data / "journal.sqlite").exists():
        raise InputError(f"no house in {data}", hint="name its folder with --data")
    with stores(data, read_only=False) as (journal, _):
        journal.note(flip(name, on, f"os:{getpass.getuser()}", reason), now())


def _told(url: str, name: str, on: bool, reason: str, token_file: Path | None) -> None:
    """Ask a running house to flip."""
    import time
    from urllib.parse import quote

    import httpcore

    from watchkeeper.exchange import Bounded, checked_url, trust, why
    from watchkeeper.secrets import Keeper, Reference
    from watchkeeper.secrets.file import File

    headers = {"Content-Type": "application/json", "User-Agent": "watchkeeper"}
    if token_file is not None:
        keeper = Keeper()
        keeper.adopt({"file": File()})
        token = keeper.secret(Reference("file", str(token_file)))
        headers["Authorization"] = f"Bearer {token.reveal()}"
    asked = f"{checked_url(url).rstrip('/')}/api/v1/flags/{quote(name, safe='')}"
    body = json.dumps({"on": on, "reason": reason}).encode()
    backend = Bounded(time.monotonic() + SECONDS)
    try:
        with httpcore.ConnectionPool(ssl_context=trust(), network_backend=backend) as pool:
            answer = pool.request("PUT", asked, headers=[*headers.items()], content=body)
    except (httpcore.NetworkError, httpcore.TimeoutException, OSError) as error:
        raise InputError(f"{url}: {why(error)}", hint="give its address with --url") from None
    if answer.status != 200:
        said = answer.content[:200].decode("utf-8", "replace")
        who = "it takes the scope flags:write: --token-file with a token of an admin"
        hint = who if answer.status in (401, 403) else ""
        raise InputError(f"{url}: HTTP {answer.status}: {said}", hint=hint)


def _facts(flags: Flags) -> dict[str, Any]:
    return {
        "flags": [
            {
                "flag": name,
                "on": flags.on(name),
                "said_by": "flip" if name in flags.flipped else "configuration",
            }
            for name in sorted({**flags.configured, **flags.flipped})
        ]
    }


def _text(flags: Flags) -> str:
    rows = _facts(flags)["flags"]
    if not rows:
        return "nothing was switched on or off; what needs a flag is off"
    lines = [f"{'flag':<40} {'':<4} said by"]
    lines += [f"{r['flag']:<40} {'on' if r['on'] else 'off':<4} {r['said_by']}" for r in rows]
    return "\n".join(lines)
