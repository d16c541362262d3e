"""Benign twins: they look like faults, and must lead to no action."""

from __future__ import annotations

from typing import ClassVar, Literal

from watchkeeper.simulate._effects import Effect, Op, Shape
from watchkeeper.simulate._fault import Fault, Length, Share
from watchkeeper.simulate._host import AMBIENT, LOAD


class HotDay(Fault):
    """It is hot for all; every host warms and every fan answers."""

    kind: Literal["hot_day"]
    action: ClassVar[str] = "none"
    benign: ClassVar[bool] = True
    among: ClassVar[Literal["hosts", "racks", "all"]] = "all"
    kelvin: float = 6.0

    def effects(self) -> tuple[Effect, ...]:
        """Return the weather."""
        return (Effect(AMBIENT, Op.ADD, Shape.HUMP, self.kelvin, self.seconds),)


class DeployWave(Fault):
    """A release rolls over the hosts, a short restart on each, one after the other."""

    kind: Literal["deploy_wave"]
    action: ClassVar[str] = "none"
    benign: ClassVar[bool] = True
    among: ClassVar[Literal["hosts", "racks", "all"]] = "all"
    every: Length = 60_000
    duration: Length = 300_000

    @property
    def stagger(self) -> float:
        """Seconds from one host's restart to the next one's."""
        return self.every / 1000.0

    def effects(self) -> tuple[Effect, ...]:
        """Return the restart: memory given back, processor for the warm-up."""
        return (
            Effect(LOAD, Op.ADD, Shape.HUMP, 0.2, self.seconds),
            Effect("memory", Op.TIMES, Shape.HUMP, -0.3, self.seconds),
            Effect("processes", Op.TIMES, Shape.HUMP, -0.05, self.seconds),
        )


class TrafficPeak(Fault):
    """Everybody is busy; some packets are dropped, none is damaged."""

    kind: Literal["traffic_peak"]
    action: ClassVar[str] = "none"
    benign: ClassVar[bool] = True
    among: ClassVar[Literal["hosts", "racks", "all"]] = "all"
    extra: Share = 0.2

    def effects(self) -> tuple[Effect, ...]:
        """Return the load and the drops."""
        return (
            Effect(LOAD, Op.ADD, Shape.HUMP, self.extra, self.seconds),
            Effect("drops", Op.ADD, Shape.HUMP, 0.5, self.seconds),
        )


class ModuleSwap(Fault):
    """A part is exchanged for another type; the host has a new normal from then on."""

    kind: Literal["module_swap"]
    action: ClassVar[str] = "none"
    benign: ClassVar[bool] = True

    def effects(self) -> tuple[Effect, ...]:
        """Return the new levels."""
        return (
            Effect("temp_cpu", Op.ADD, Shape.STEP, -5.0, lasts=True),
            Effect("power", Op.TIMES, Shape.STEP, -0.12, lasts=True),
            Effect("fan", Op.TIMES, Shape.STEP, -0.08, lasts=True),
        )
