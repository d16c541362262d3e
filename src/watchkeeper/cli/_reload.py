"""Take up another configuration on SIGHUP; between two, renew secrets and look for drift."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from watchkeeper.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from watchkeeper.config import Change, Config
    from watchkeeper.live import Live
    from watchkeeper.secrets import Keeper
    from watchkeeper.service import House

# what a reload leaves as it is
AT_START = (
    "data", "reserve", "listen", "access", "openid", "tls", "receivers", "engine",
    "log", "tracing", "metrics",
)  # fmt: skip
SHOWN = 5  # changes named in one line of log or status; the journal has all

Read = Callable[["Keeper | None"], "Config"]


def reload_when_told(
    told: threading.Event,
    begun: Config,
    read: Read,
    furnished: Callable[[Config], House],
    live: Live,
) -> None:
    """When told, read the configuration again; one that is wrong changes nothing.

    :param told: set by SIGHUP. :param begun: the configuration of the start.
    :param read: reads it, with the keeper of its secrets; without one, secrets are not asked for.
    """
    reload = _Reload(begun, read, furnished, live)
    live.drifted("")  # what an earlier house wrote down is over

    def wait() -> None:
        from watchkeeper.secrets import ROUND

        while True:
            asked = told.wait(ROUND)
            if asked:
                told.clear()  # before anything is read: who tells it meanwhile wants more
            reload.renew(all_of_them=asked)
            if asked:
                reload.take_up()
            reload.look()

    threading.Thread(target=wait, name="reload", daemon=True).start()


class _Reload:
    """What is configured, what runs, and how the two differ."""

    def __init__(
        self, begun: Config, read: Read, furnished: Callable[[Config], House], live: Live
    ) -> None:
        import structlog

        self._begun = self._running = begun
        self._read, self._furnished, self._live = read, furnished, live
        self._seen = _marks(begun.files)
        self._log = structlog.get_logger("watchkeeper")

    def renew(self, *, all_of_them: bool) -> None:
        """Read secrets again, those that are due or all of them."""
        for what, error in self._begun.keeper.round(all_of_them=all_of_them).items():
            self._log.warning("secret_not_renewed", secret=what, error=error)

    def take_up(self) -> None:
        """Read the configuration, go on under it, and tell log and journal what differs."""
        try:
            wanted = self._read(self._begun.keeper)
            house = self._furnished(wanted)
        except ConfigError as error:
            self._log.error("reload_failed", error=str(error), code=error.code)
            self._live.reloaded(False)
            return
        changes = self._running.written.difference(wanted.written)
        self._journal(wanted, changes)
        self._live.service.reload(house)
        self._live.keep(wanted.reports, wanted.history)
        beyond = [x for x in AT_START if getattr(wanted, x) != getattr(self._begun, x)]
        if beyond:
            self._log.warning("restart_needed", fields=beyond)
        self._running, self._seen = wanted, []
        self._live.reloaded(True, beyond)

    def look(self) -> None:
        """Compare what is on the disk with what runs, when a file was touched since."""
        marks = _marks(self._begun.files)
        if marks == self._seen:
            return
        self._seen = marks
        try:
            changes = self._running.written.difference(self._read(None).written)
            drift = _line(changes)
        except ConfigError as error:
            drift = f"it cannot be read any more: {error}"
        if drift:
            self._log.warning("config_drift", difference=drift)
        self._live.drifted(drift)

    def _journal(self, wanted: Config, changes: Sequence[Change]) -> None:
        """Write down what differs; the audit chain has it from there."""
        from watchkeeper.model import Control, canonical

        if not changes:
            return
        self._log.info("config_changed", difference=_line(changes))
        facts = {
            "changes": [change._asdict() for change in changes],
            "files": [path.name for path in wanted.files],
        }
        try:
            self._live.service.features.tell(Control("configuration", "reload", canonical(facts)))
        except StoreError as error:
            self._log.error("config_change_unwritten", error=str(error), code=error.code)


def _line(changes: Sequence[Change]) -> str:
    """Return changes as people read them, the first few of them."""
    said = [f"{path}: {was or 'nothing'} -> {now or 'nothing'}" for path, was, now in changes]
    more = f"; and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
    return "; ".join(said[:SHOWN]) + more


def _marks(files: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Return which texts there are beside the configuration's, and when each was last written."""
    return sorted(_marked({path.absolute().parent for path in files}))


def _marked(folders: set[Path]) -> Iterator[tuple[str, int, int]]:
    for folder in folders:
        try:
            for path in folder.iterdir():
                if path.suffix in (".yaml", ".yml"):
                    facts = path.stat()
                    yield str(path), facts.st_mtime_ns, facts.st_size
        except OSError:
            yield str(folder), 0, 0  # gone: reading it will say so
