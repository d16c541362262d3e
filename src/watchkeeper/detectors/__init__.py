"""Detectors turn samples into anomaly scores. Every other file here is one detector.

A detector is a pure function: state and samples in, state and scores out. It never sees a clock,
a file or a series name, so any engine may run it anywhere and a replay gives the same scores.
Its score is in units of the alarm threshold: 1.0 is where one would alarm, whatever the method,
so scores of different detectors compare. `ensemble` combines them.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeVar

from watchkeeper.model import Floats, Rows, Times, Traits


class Samples(NamedTuple):
    """Samples sorted by (row, time). Times grow strictly within a row.

    `row` says which row of the state and of the traits a sample belongs to. The value of a counter
    is already its rate per second; NaN where there is no rate yet (a first sample): such a
    sample teaches nothing and scores 0.
    """

    row: Rows
    time: Times  # event time, for seasonality
    arrived: Times  # when we saw it, for silence
    value: Floats


class Scored(NamedTuple):
    """One element a sample. The band is what would have been normal; NaN while not known."""

    expected: Floats
    lower: Floats
    upper: Floats
    score: Floats
    deadline: Times | None = None  # silence until then is normal; only `absence` says so


S = TypeVar("S", bound=tuple[object, ...])


class Detector(Protocol[S]):
    """`S` is a NamedTuple of arrays whose first axis is the series, one row each.

    A detector's fields are its parameters. `version` changes when the same samples would score
    differently; `state_version` when older state can no longer be read.
    """

    @property
    def version(self) -> int:
        """The version of the method."""

    @property
    def state_version(self) -> int:
        """The version of the layout of `S`."""

    def fresh(self, rows: int) -> S:
        """Return the state of `rows` series never seen before."""

    def score(self, state: S, samples: Samples, traits: Traits) -> tuple[S, Scored]:
        """Score each sample before learning from it.

        The state is handed over: its arrays may be changed in place and returned. Only rows named
        by the samples change, so disjoint slices of samples may run at once on one state.
        """

    def reference(self, time: Times, value: Floats, traits: Traits) -> Floats:
        """Return the scores of one series (row 0 of the traits) the slow, obvious way.

        Tests hold the kernel to it.
        """
