"""What a host reports, and how each signal follows from the host's load.

Names, units and physical bounds are those of the pack `host@1`; the numbers below describe an
ordinary server. A value is

    size × (base + gain L + queue L/(1-L) + ambient A + saw D) + wander W + slope t
    then × (1 + relative N) + absolute N

with the load L (0..1), the ambient temperature A (K above its mean), the share of the day passed
D, smooth noise W, AR(1) noise N (mean 0, variance 1), and a size drawn once for each host.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

LOAD, AMBIENT = "load", "ambient"  # the latents that drive all signals; effects may target them

PROFILE = np.dtype(
    [
        ("counter", np.bool_),
        ("per_unit", np.float64),  # values are whole multiples of 1 / per_unit
        ("low", np.float64),
        ("high", np.float64),
        ("base", np.float64),
        ("gain", np.float64),
        ("queue", np.float64),
        ("ambient", np.float64),
        ("saw", np.float64),
        ("slope", np.float64),  # per second
        ("wander", np.float64),
        ("relative", np.float64),
        ("absolute", np.float64),
        ("phi", np.float64),
        ("mirror", np.int32),  # row r: the value is size × base × (1 - value of r); else -1
    ]
)


class Signal(NamedTuple):
    """One series of a host. A counter's numbers are rates per second; `spread` is in shares."""

    id: str
    metric: str
    attributes: tuple[tuple[str, str], ...]
    unit: str
    per_unit: float
    high: float = math.inf
    low: float = 0.0
    base: float = 0.0
    gain: float = 0.0
    queue: float = 0.0
    ambient: float = 0.0
    saw: float = 0.0
    slope: float = 0.0
    wander: float = 0.0
    relative: float = 0.0
    absolute: float = 0.0
    phi: float = 0.8
    spread: float = 0.0
    counter: bool = False
    mirror: str = ""


def _at(**attributes: str) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("__", "."), value) for name, value in sorted(attributes.items()))


_GIB = 1024.0**3
_READ, _WRITE = _at(disk__io__direction="read"), _at(disk__io__direction="write")
_RX, _TX = _at(network__io__direction="receive"), _at(network__io__direction="transmit")
_MAJOR = _at(system__paging__fault__type="major")
_ROOT, _VAR = (_at(system__filesystem__mountpoint=place) for place in ("/", "/var"))
HOST: tuple[Signal, ...] = (
    Signal("cpu", "system.cpu.utilization", (), "1", 1e4, high=1.0,
           gain=1.0, absolute=0.012, phi=0.5),
    Signal("iowait", "system.cpu.utilization", _at(cpu__mode="iowait"), "1", 1e4, high=1.0,
           base=0.004, gain=0.01, queue=0.004, absolute=0.0015, relative=0.1),
    Signal("steal", "system.cpu.utilization", _at(cpu__mode="steal"), "1", 1e4, high=1.0,
           base=0.003, absolute=0.001, relative=0.1, phi=0.5),
    Signal("load1", "system.cpu.load_per_cpu", (), "1", 100, high=1e4,
           gain=0.9, queue=0.15, relative=0.08, phi=0.9),
    Signal("psi_cpu", "system.linux.pressure.cpu.waiting_time", (), "s", 1e6, high=1.0,
           queue=0.02, absolute=0.002, relative=0.1, counter=True),
    Signal("psi_io", "system.linux.pressure.io.waiting_time", (), "s", 1e6, high=1.0,
           base=0.003, queue=0.005, absolute=0.001, relative=0.1, counter=True),
    Signal("psi_memory", "system.linux.pressure.memory.waiting_time", (), "s", 1e6, high=1.0,
           base=0.001, absolute=0.0005, counter=True),
    Signal("memory", "system.memory.utilization", (), "1", 1e4, high=1.0,
           base=0.42, gain=0.15, wander=0.02, absolute=0.002, phi=0.9, spread=0.12),
    Signal("available", "system.memory.linux.available", (), "By", 1,
           base=128 * _GIB, mirror="memory"),
    Signal("swap", "system.paging.utilization", (), "1", 1e4, high=1.0,
           base=0.03, wander=0.008, absolute=0.0003, spread=0.3),
    Signal("faults", "system.paging.faults", _MAJOR, "{fault}", 1,
           base=0.05, gain=0.4, relative=0.3, spread=0.4, counter=True),
    Signal("fs_root", "system.filesystem.utilization", _ROOT, "1", 1e4, high=1.0,
           base=0.38, wander=0.002, absolute=0.0002, spread=0.2),
    Signal("fs_var", "system.filesystem.utilization", _VAR, "1", 1e4, high=1.0,
           base=0.45, saw=0.04, wander=0.004, absolute=0.0004, spread=0.12),
    Signal("disk_read", "system.disk.io", _READ, "By", 1 / 4096,
           base=2e5, gain=2e7, relative=0.15, spread=0.3, counter=True),
    Signal("disk_write", "system.disk.io", _WRITE, "By", 1 / 4096,
           base=4e5, gain=3e7, relative=0.12, spread=0.3, counter=True),
    Signal("disk_time", "system.disk.operation_time", _WRITE, "s", 1000,
           base=0.01, gain=0.1, queue=0.06, relative=0.12, spread=0.2, counter=True),
    Signal("disk_latency", "system.disk.latency", (), "s", 1e6, high=3600.0,
           base=0.0008, queue=0.0009, relative=0.1, spread=0.2),
    Signal("net_in", "system.network.io", _RX, "By", 1,
           base=5e5, gain=8e7, relative=0.08, spread=0.3, counter=True),
    Signal("net_out", "system.network.io", _TX, "By", 1,
           base=5e5, gain=6e7, relative=0.08, spread=0.3, counter=True),
    Signal("packets", "system.network.packet.count", _RX, "{packet}", 1,
           base=600.0, gain=9e4, relative=0.08, spread=0.3, counter=True),
    Signal("drops", "system.network.packet.dropped", _RX, "{packet}", 1,
           base=0.001, queue=0.01, counter=True),
    Signal("errors", "system.network.errors", _RX, "{error}", 1,
           base=2e-5, counter=True),
    Signal("carrier", "system.linux.network.carrier_changes", (), "{change}", 1,
           base=1e-6, counter=True),
    Signal("temp_cpu", "hw.temperature", _at(hw__id="cpu0"), "Cel", 10, high=150.0, low=-40.0,
           base=38.0, gain=26.0, ambient=1.0, absolute=0.4, phi=0.9, spread=0.03),
    Signal("temp_inlet", "hw.host.ambient_temperature", (), "Cel", 10, high=100.0, low=-40.0,
           base=22.0, ambient=1.0, absolute=0.12, phi=0.9, spread=0.03),
    Signal("fan", "hw.fan.speed", _at(hw__id="fan0"), "rpm", 1, high=60000.0,
           base=4200.0, gain=3800.0, ambient=180.0, relative=0.008, spread=0.03),
    Signal("fan_ratio", "hw.fan.speed_ratio", _at(hw__id="fan1"), "1", 1e3, high=1.0,
           base=0.30, gain=0.32, ambient=0.015, relative=0.01, spread=0.03),
    Signal("power", "hw.power", (), "W", 10, high=5000.0,
           base=130.0, gain=190.0, ambient=1.0, relative=0.012, spread=0.08),
    Signal("processes", "system.process.count", (), "{process}", 1, high=4e6,
           base=260.0, gain=60.0, wander=4.0, relative=0.008, phi=0.9, spread=0.2),
    Signal("clock", "system.clock.offset", (), "s", 1e6, high=1e6, low=-1e6,
           wander=0.0002, absolute=0.00015, phi=0.9),
)  # fmt: skip


def profile(signals: tuple[Signal, ...]) -> npt.NDArray[Any]:
    """Return PROFILE rows of `signals`."""
    ids = [signal.id for signal in signals]
    plain = [name for name in PROFILE.names or () if name != "mirror"]
    rows = []
    for signal in signals:
        assert 0.0 <= signal.phi <= 0.95, signal
        mirror = ids.index(signal.mirror) if signal.mirror else -1
        rows.append((*(getattr(signal, name) for name in plain), mirror))
    return np.array(rows, dtype=PROFILE)
