"""The faults a host can have, each with its ground truth.

A fault says what it does to the signals of a host (`effects`) or to what is read from them
(`readings`), and what a good operator would do about it. Formulas: docs/simulate.md.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from watchkeeper.simulate._effects import DAY, Effect, Op, Shape
from watchkeeper.simulate._fault import Fault, Length, Reading, Share
from watchkeeper.simulate._host import HOST, LOAD
from watchkeeper.simulate.benign import DeployWave, HotDay, ModuleSwap, TrafficPeak


class MemoryLeak(Fault):
    """Available memory falls to 0, the kernel kills and restarts the service, and again."""

    kind: Literal["memory_leak"]
    action: ClassVar[str] = "restart_service"
    oom_after: Length = 6 * 3_600_000

    def effects(self) -> tuple[Effect, ...]:
        """Return the sawtooth, and the thrashing near its end."""
        p = self.oom_after / 1000.0
        return (
            Effect("memory", Op.TOWARD, Shape.SAWTOOTH, 1.0, p),
            Effect("swap", Op.TOWARD, Shape.SAWTOOTH, 0.95, p, 4),
            Effect("psi_memory", Op.ADD, Shape.SAWTOOTH, 0.6, p, 10),
            Effect("faults", Op.ADD, Shape.SAWTOOTH, 900.0, p, 10),
        )

    def fails_after(self) -> float | None:
        """Return the time of the first kill."""
        return self.oom_after / 1000.0 if self.oom_after <= self.duration else None


class DiskFill(Fault):
    """/var fills, straight or ever faster, with what the daily log rotation gives back."""

    kind: Literal["disk_fill"]
    action: ClassVar[str] = "free_space"
    full_after: Length = 10 * 3_600_000
    growth: Literal["linear", "exponential"] = "linear"
    logrotate: Share = 0.0  # share of a day's growth that rotation gives back

    @model_validator(mode="after")
    def _rotation_is_linear(self) -> DiskFill:
        if self.growth == "exponential" and self.logrotate > 0.0:
            raise ValueError("logrotate goes with linear growth only")
        return self

    def effects(self) -> tuple[Effect, ...]:
        """Return the filling; once full it stays full until the end."""
        p = self.full_after / 1000.0
        if self.growth == "exponential":
            return (Effect("fs_var", Op.TOWARD, Shape.EXPONENTIAL, 1.0, p, 4.0),)
        return (Effect("fs_var", Op.TOWARD, Shape.STAIRS, 1.0, p, self.logrotate),)

    def fails_after(self) -> float | None:
        """Return when the first byte no longer fits."""
        p, q = self.full_after / 1000.0, self.logrotate
        rotations = max(0, math.floor((p - q * DAY) / DAY))
        full = (p + q * rotations * DAY) / (1.0 + q)
        return full if full <= self.seconds else None


class FanFail(Fault):
    """One fan stops within seconds; the others go to full speed; the heat follows in minutes."""

    kind: Literal["fan_fail"]
    action: ClassVar[str] = "replace_fan"
    heat: Annotated[float, Field(gt=0.0)] = 38.0  # kelvin
    tau: Length = 300_000

    def effects(self) -> tuple[Effect, ...]:
        """Return dT/dt = (T∞ - T)/τ, and the fans."""
        return (
            Effect("fan", Op.TOWARD, Shape.SATURATE, 0.0, 3.0),
            Effect("fan_ratio", Op.TOWARD, Shape.SATURATE, 1.0, 30.0),
            Effect("temp_cpu", Op.ADD, Shape.SATURATE, self.heat, self.tau / 1000.0),
        )


class NoisyNeighbour(Fault):
    """One guest of a machine takes the processor from all its other guests, now and then."""

    kind: Literal["noisy_neighbour"]
    action: ClassVar[str] = "move_guest"
    among: ClassVar[Literal["hosts", "racks", "all"]] = "racks"
    steal: Share = 0.3
    period: Length = 1_800_000
    duty: Share = 0.6

    def effects(self) -> tuple[Effect, ...]:
        """Return a square wave on steal and on what waits because of it."""
        p, q = self.period / 1000.0, self.duty
        return (
            Effect("steal", Op.ADD, Shape.SQUARE, self.steal, p, q),
            Effect("psi_cpu", Op.ADD, Shape.SQUARE, self.steal * 0.8, p, q),
            Effect("load1", Op.ADD, Shape.SQUARE, self.steal * 2.0, p, q),
            Effect("disk_latency", Op.TIMES, Shape.SQUARE, 0.5, p, q),
        )


class ClockDrift(Fault):
    """The clock runs fast or slow with nobody steering it, until NTP steps it back."""

    kind: Literal["clock_drift"]
    action: ClassVar[str] = "fix_time"
    ppm: Annotated[float, Field(ge=-500.0, le=500.0)] = 120.0

    def effects(self) -> tuple[Effect, ...]:
        """Return offset = d · t."""
        drift = self.ppm * 1e-6 * self.seconds
        return (Effect("clock", Op.ADD, Shape.RAMP, drift, self.seconds),)


class NicErrors(Fault):
    """A bad cable or port corrupts frames at a steady rate, whatever the traffic."""

    kind: Literal["nic_errors"]
    action: ClassVar[str] = "replace_cable"
    per_second: Annotated[float, Field(gt=0.0)] = 4.0

    def effects(self) -> tuple[Effect, ...]:
        """Return the errors."""
        return (Effect("errors", Op.ADD, Shape.STEP, self.per_second),)


class NicFlap(Fault):
    """The link goes down and up again in random ticks; traffic dips with it."""

    kind: Literal["nic_flap"]
    action: ClassVar[str] = "replace_cable"
    share: Share = 0.25  # of the ticks

    def effects(self) -> tuple[Effect, ...]:
        """Return the carrier changes, the errors and the missing traffic, in the same ticks."""
        return (
            Effect("carrier", Op.ADD, Shape.PULSES, 0.07, 1.0, self.share),
            Effect("errors", Op.ADD, Shape.PULSES, 1.0, 1.0, self.share),
            Effect("net_in", Op.TIMES, Shape.PULSES, -0.6, 1.0, self.share),
            Effect("net_out", Op.TIMES, Shape.PULSES, -0.6, 1.0, self.share),
            Effect("packets", Op.TIMES, Shape.PULSES, -0.6, 1.0, self.share),
        )


class CpuSaturation(Fault):
    """A runaway process takes the whole processor; all that follows from load follows."""

    kind: Literal["cpu_saturation"]
    action: ClassVar[str] = "rebalance"
    level: Share = 0.96

    def effects(self) -> tuple[Effect, ...]:
        """Return a step of the load."""
        return (Effect(LOAD, Op.TOWARD, Shape.STEP, self.level),)


class DiskLatency(Fault):
    """A dying disk still answers, ever slower."""

    kind: Literal["disk_latency"]
    action: ClassVar[str] = "replace_disk"
    factor: Annotated[float, Field(gt=1.0)] = 40.0

    def effects(self) -> tuple[Effect, ...]:
        """Return the latency, which settles within 20 min, and the waiting for it."""
        return (
            Effect("disk_latency", Op.TIMES, Shape.SATURATE, self.factor - 1.0, 1200.0),
            Effect("disk_time", Op.TIMES, Shape.SATURATE, self.factor - 1.0, 1200.0),
            Effect("iowait", Op.ADD, Shape.SATURATE, 0.14, 1200.0),
            Effect("psi_io", Op.ADD, Shape.SATURATE, 0.3, 1200.0),
            Effect("load1", Op.ADD, Shape.SATURATE, 0.6, 1200.0),
        )


class SharedFailure(Fault):
    """The switch of a rack half dies: all its hosts lose traffic at once. One cause, one case."""

    kind: Literal["shared_failure"]
    action: ClassVar[str] = "open_one_case"
    among: ClassVar[Literal["hosts", "racks", "all"]] = "racks"
    lost: Share = 0.95

    def effects(self) -> tuple[Effect, ...]:
        """Return the lost traffic and the errors of every host of the rack."""
        return (
            Effect("net_in", Op.TIMES, Shape.STEP, -self.lost),
            Effect("net_out", Op.TIMES, Shape.STEP, -self.lost),
            Effect("packets", Op.TIMES, Shape.STEP, -self.lost),
            Effect("errors", Op.ADD, Shape.STEP, 3.0),
        )

    def fails_after(self) -> float | None:
        """Return 0: the work stops at once."""
        return 0.0


def _known(ids: str) -> str:
    names = [signal.id for signal in HOST]
    if ids not in names:
        raise ValueError(f"no signal {ids!r}; known: {', '.join(names)}")
    return ids


SignalId = Annotated[str, BeforeValidator(_known)]


class StuckSensor(Fault):
    """A sensor repeats its last value for ever. The host is well."""

    kind: Literal["stuck_sensor"]
    action: ClassVar[str] = "replace_sensor"
    signal: SignalId = "temp_cpu"

    def readings(self) -> tuple[Reading, ...]:
        """Return the frozen signal."""
        return (Reading(self.signal, "stuck"),)


class BadSensor(Fault):
    """A sensor reports what cannot be: the host is well, its telemetry belongs in quarantine.

    `spikes` to impossible values and `nan` in a share of the ticks; `unit_swap` reports ratios in
    percent and Celsius in Fahrenheit; `wrap` folds a counter at 2^32; `reset` starts it at 0.
    """

    kind: Literal["bad_sensor"]
    action: ClassVar[str] = "replace_sensor"
    mode: Literal["spikes", "nan", "unit_swap", "wrap", "reset"] = "spikes"
    signal: SignalId = "temp_inlet"
    share: Share = 0.1

    @model_validator(mode="after")
    def _fits(self) -> BadSensor:
        counter = next(signal.counter for signal in HOST if signal.id == self.signal)
        if counter != (self.mode in ("wrap", "reset")) and self.mode != "nan":
            wanted = "a counter" if self.mode in ("wrap", "reset") else "a gauge"
            raise ValueError(f"mode {self.mode} needs {wanted}; {self.signal} is not")
        return self

    def readings(self) -> tuple[Reading, ...]:
        """Return the broken signal."""
        return (Reading(self.signal, self.mode, self.share),)


class MissingData(Fault):
    """Samples are lost, in bursts (Gilbert 1960, Elliott 1963) or all at once in a blackout."""

    kind: Literal["missing_data"]
    action: ClassVar[str] = "restore_collection"
    mode: Literal["bursts", "blackout"] = "bursts"
    p_bad: Share = 0.05  # good to bad, each tick
    p_good: Share = 0.1  # bad to good

    def readings(self) -> tuple[Reading, ...]:
        """Return the loss of all signals of the host."""
        return (Reading("", self.mode, self.p_bad, self.p_good),)


AnyFault = Annotated[
    MemoryLeak
    | DiskFill
    | FanFail
    | NoisyNeighbour
    | ClockDrift
    | NicErrors
    | NicFlap
    | CpuSaturation
    | DiskLatency
    | SharedFailure
    | StuckSensor
    | BadSensor
    | MissingData
    | HotDay
    | DeployWave
    | TrafficPeak
    | ModuleSwap,
    Field(discriminator="kind"),
]
