"""The pure core carried along a journal, entry by entry."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from watchkeeper import core
from watchkeeper.core import Concluded, Observed, checkpoint
from watchkeeper.core.state import Rulebook, State
from watchkeeper.engines import Engine
from watchkeeper.errors import VerifyError
from watchkeeper.model import Checkpoint, Entry, Millis, Offset, Step

Reread = Callable[[Mapping[str, Any]], Rulebook]


@dataclass
class Fold:
    """The pure core carried along the journal: what `decide`, `replay` and `verify` share.

    A rulebook entry changes what later entries are judged by; the first entry must be one.
    """

    reread: Reread
    engine: Engine
    rulebook: Rulebook | None = None
    state: State | None = None

    @property
    def offset(self) -> Offset:
        """The last entry taken in."""
        return self.state.offset if self.state is not None else Offset(0)

    def due(self, entry: Entry) -> bool:
        """Return whether `close` has anything to do."""
        if self.rulebook is None or self.state is None:
            return False
        return core.due(self.rulebook, self.state, entry)

    def close(self, entry: Entry) -> tuple[list[Step], Concluded | None]:
        """Evaluate the ticks that are over when `entry` arrives."""
        if self.rulebook is None or self.state is None:
            return [], None
        self.state, steps, concluded = core.close(self.rulebook, self.state, entry)
        return steps, concluded

    def finish(self) -> Concluded | None:
        """Evaluate the tick that is still open, as if one more entry had come after it."""
        if self.rulebook is None or self.state is None:
            return None
        until = Millis(self.state.tick + self.rulebook.tick + 1)
        self.state, _, concluded = core.close_ticks(self.rulebook, self.state, until)
        return concluded

    def take(self, *entries: Entry) -> Observed | None:
        """Adopt a rulebook, if an entry brings one, and score their samples.

        :param entries: one, or several without any control or tick between them.
        :raises VerifyError: telemetry before any rulebook.
        """
        for entry in entries:
            for control in entry.controls:
                if control.kind == "rulebook":
                    self._adopt(self.reread(json.loads(control.body)), entry)
        if self.rulebook is None or self.state is None:
            raise VerifyError(
                f"journal entry {entries[0].offset} comes before any rulebook",
                hint="`watchkeeper run` did not begin this journal; restore it from a backup",
            )
        self.state, observed = core.take(self.rulebook, self.state, entries, self.engine)
        return observed

    def picture(self) -> checkpoint.Picture | None:
        """Return what a checkpoint holds, or None while something is pending."""
        if self.rulebook is None or self.state is None or not self.state.pending.empty:
            return None
        return checkpoint.picture(self.rulebook, self.state)

    def checkpoint(self) -> Checkpoint | None:
        """Return a checkpoint, or None while something is pending."""
        now = self.picture()
        if now is None:
            return None
        return Checkpoint(now.offset, now.tick, b"".join(checkpoint.pieces(now)))

    def _adopt(self, rulebook: Rulebook, entry: Entry) -> None:
        if self.rulebook is None or self.state is None:
            self.state = core.begun(rulebook, entry)
        else:
            self.state = core.adopt(self.rulebook, rulebook, self.state)
        self.rulebook = rulebook
