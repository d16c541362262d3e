"""Our feature flags behind OpenFeature, for everything outside the pure core.

The core folds flags out of the journal itself (`flags.py`). What runs at the edges, and plugs of
others, ask the vendor-neutral client: `openfeature.api.get_client("watchkeeper")`. Hooks that
somebody adds there see every question.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata

from watchkeeper.actions import Action
from watchkeeper.core.state import Rulebook, State
from watchkeeper.errors import ActionRetry, StoreError
from watchkeeper.flags import Flags, Switch
from watchkeeper.model import Control, Order
from watchkeeper.sources import Source

DOMAIN = "watchkeeper"
V = TypeVar("V")


class Features(AbstractProvider):
    """Answers from the flags of one house: those that were flipped, then those configured.

    :param flags: returns them as they are now; called from several threads.
    """

    def __init__(self, flags: Callable[[], Flags]) -> None:
        super().__init__()
        self._flags = flags

    def get_metadata(self) -> Metadata:
        """Return our name."""
        return Metadata(name="watchkeeper")

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        """Return whether a flag is on, and who said so."""
        flags = self._flags()
        if flag_key in flags.flipped:
            on, reason = flags.flipped[flag_key], Reason.TARGETING_MATCH
        elif flag_key in flags.configured:
            on, reason = flags.configured[flag_key], Reason.STATIC
        else:
            return FlagResolutionDetails(default_value, reason=Reason.DEFAULT)
        return FlagResolutionDetails(on, reason=reason, variant="on" if on else "off")

    def resolve_string_details(
        self,
        flag_key: str,
        default_value: str,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[str]:
        """Flags are on or off."""
        return _mismatch(default_value)

    def resolve_integer_details(
        self,
        flag_key: str,
        default_value: int,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[int]:
        """Flags are on or off."""
        return _mismatch(default_value)

    def resolve_float_details(
        self,
        flag_key: str,
        default_value: float,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[float]:
        """Flags are on or off."""
        return _mismatch(default_value)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """Flags are on or off."""
        return _mismatch(default_value)


def offer(flags: Callable[[], Flags], domain: str = DOMAIN) -> OpenFeatureClient:
    """Answer for a domain from now on; return its client."""
    api.set_provider(Features(flags), domain)
    return api.get_client(domain)


def _mismatch(default: V) -> FlagResolutionDetails[V]:
    said = "flags of watchkeeper are on or off"
    return FlagResolutionDetails(default, ErrorCode.TYPE_MISMATCH, said, Reason.ERROR)


class Switchboard:
    """The flags of a running house, as its edges see them, and control inputs on their way in.

    :param configured: returns the flags as they are configured now.
    """

    def __init__(self, configured: Callable[[], Mapping[str, bool]]) -> None:
        self._configured = configured
        self.follow: Callable[[], State | None] = lambda: None  # what the journal folds to
        self.ask: Callable[[str, bool], bool] = lambda name, default: self.flags().on(name, default)
        self._arranged: Flags | None = None  # as they were when somebody last looked
        self._waiting: deque[tuple[Control, threading.Event]] = deque()

    def flags(self) -> Flags:
        """Return the flags as the journal has them, under what is configured now."""
        state = self.follow()
        return (state.flags if state is not None else Flags()).adopt(self._configured())

    def moved(self) -> bool:
        """Return whether any flag has changed since this was last asked."""
        before, self._arranged = self._arranged, self.flags()
        return before is not None and before != self._arranged

    def tell(self, control: Control, patience: float = 10.0) -> None:
        """Wait until a control input is in the journal.

        :raises StoreError: it did not get there in time: the disk is full or has failed.
        """
        done = threading.Event()
        waiting = (control, done)
        self._waiting.append(waiting)
        if not done.wait(patience):
            with suppress(ValueError):
                self._waiting.remove(waiting)
            raise StoreError(f"{control.kind}: not done, the journal takes nothing now")

    def journal(self, note: Callable[[Control], object]) -> None:
        """Write down the control inputs that wait."""
        while self._waiting:
            control, done = self._waiting[0]
            note(control)  # when it cannot be written now, it goes on waiting
            self._waiting.popleft()
            done.set()

    def collecting(self, sources: Sequence[Source], switches: Mapping[str, Switch]) -> list[Source]:
        """Return the sources that are on; one without a switch is."""
        return [one for one in sources if one.name not in switches or self.ask(*switches[one.name])]

    def acting(self, actions: Mapping[str, Action], rules: Rulebook) -> dict[str, Action]:
        """Return the actions; one that is off lets its orders wait."""
        needs = rules.needs
        return {
            name: action if name not in needs or self.ask(needs[name], False) else _Off(needs[name])
            for name, action in actions.items()
        }


class _Off:
    """An action that is off: what was ordered before waits, as for a receiver that is away."""

    def __init__(self, flag: str) -> None:
        self._flag = flag

    def perform(self, order: Order) -> str:
        raise ActionRetry(f"flag {self._flag} is off", hint=f"watchkeeper flag on {self._flag}")
