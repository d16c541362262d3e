"""What this host can be asked, one function a subject.

Names follow OpenTelemetry's `system.*` and `hw.*`, units UCUM; `packs/host/contract.yaml` says what
each means. A function yields what it can and raises where the system has no answer (a container
has no sensors); the caller keeps the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil

PROC, SYS = Path("/proc"), Path("/sys")
_MODES = ("user", "system", "iowait", "steal")


class Reading(NamedTuple):
    """One value. :param unit: UCUM. :param attributes: besides the unit."""

    metric: str
    unit: str
    value: float
    attributes: Mapping[str, str] = {}


Subject = Callable[[dict[str, Any]], Iterator[Reading]]  # the memory is the caller's, per subject


def processor(memory: dict[str, Any]) -> Iterator[Reading]:
    """Shares of processor time since the poll before; nothing on the first."""
    now = psutil.cpu_times()._asdict()
    before = memory.get("times")
    memory["times"] = now
    if before is not None:
        # Guest time is part of user time, and iowait may step back a little (proc_stat(5)).
        spent = {
            mode: max(0.0, now[mode] - before.get(mode, 0.0))
            for mode in now
            if not mode.startswith("guest")
        }
        total = sum(spent.values())
        if total > 0:
            idle = spent.get("idle", 0.0) + spent.get("iowait", 0.0)
            yield Reading("system.cpu.utilization", "1", _share(total - idle, total))
            for mode in _MODES:
                if mode in spent:
                    share = _share(spent[mode], total)
                    yield Reading("system.cpu.utilization", "1", share, {"cpu.mode": mode})
    load = os.getloadavg()
    for minutes, value in zip((1, 5, 15), load, strict=True):
        yield Reading(f"system.cpu.load_average.{minutes}m", "{thread}", value)
    yield Reading("system.cpu.load_per_cpu", "1", load[0] / (os.cpu_count() or 1))


def memory(_: dict[str, Any]) -> Iterator[Reading]:
    """Memory and swap."""
    found = psutil.virtual_memory()
    gone = found.total - found.available
    yield Reading("system.memory.utilization", "1", _share(gone, found.total))
    yield Reading("system.memory.linux.available", "By", found.available)
    yield Reading("system.memory.limit", "By", found.total)
    swap = psutil.swap_memory()
    if swap.total:
        yield Reading("system.paging.utilization", "1", _share(swap.used, swap.total))


def paging(_: dict[str, Any]) -> Iterator[Reading]:
    """Major page faults and kills for want of memory, since the host started."""
    found = dict(line.split() for line in (PROC / "vmstat").read_text().splitlines())
    kind = {"system.paging.fault.type": "major"}
    yield Reading("system.paging.faults", "{fault}", float(found["pgmajfault"]), kind)
    kills = float(found["oom_kill"])
    yield Reading("system.linux.memory.oom_kills", "{process}", kills)


def filesystems(_: dict[str, Any]) -> Iterator[Reading]:
    """Space and inodes of every mounted disk."""
    seen: set[str] = set()
    for part in psutil.disk_partitions(all=False):
        if part.device in seen:
            continue  # mounted a second time (bind mounts)
        seen.add(part.device)
        try:
            found = os.statvfs(part.mountpoint)
        except OSError:
            continue  # not ours to see; the others are
        about = {
            "system.device": part.device,
            "system.filesystem.mountpoint": part.mountpoint,
            "system.filesystem.type": part.fstype,
        }
        used = found.f_blocks - found.f_bfree
        # As df: what only root may still fill counts as used up.
        reach = used + found.f_bavail
        if reach > 0:
            yield Reading("system.filesystem.utilization", "1", _share(used, reach), about)
        if found.f_files:
            share = _share(found.f_files - found.f_ffree, found.f_files)
            yield Reading("system.filesystem.inodes.utilization", "1", share, about)
        readonly = float("ro" in part.opts.split(","))
        yield Reading("system.filesystem.readonly", "1", readonly, about)


def disks(memory: dict[str, Any]) -> Iterator[Reading]:
    """Bytes, operations and busy seconds of every disk that was ever used, and its latency."""
    for name, found in sorted((psutil.disk_io_counters(perdisk=True) or {}).items()):
        operations = found.read_count + found.write_count
        if not operations or not (SYS / "block" / name.replace("/", "!")).exists():
            continue  # idle loop devices; partitions, whose disk is counted already
        device = {"system.device": name}
        seconds = (found.read_time + found.write_time) / 1000
        before = memory.get(name)
        memory[name] = (operations, seconds)
        for direction, size, count, time in (
            ("read", found.read_bytes, found.read_count, found.read_time),
            ("write", found.write_bytes, found.write_count, found.write_time),
        ):
            about = {**device, "disk.io.direction": direction}
            yield Reading("system.disk.io", "By", size, about)
            yield Reading("system.disk.operations", "{operation}", count, about)
            yield Reading("system.disk.operation_time", "s", time / 1000, about)
        busy = getattr(found, "busy_time", None)
        if busy is not None:
            yield Reading("system.disk.io_time", "s", busy / 1000, device)
        if before is not None and operations > before[0] and seconds >= before[1]:
            mean = (seconds - before[1]) / (operations - before[0])
            yield Reading("system.disk.latency", "s", mean, device)


def network(_: dict[str, Any]) -> Iterator[Reading]:
    """Bytes, packets, drops and errors of every interface but the loopback; link state."""
    links = psutil.net_if_stats()
    for name, found in sorted(psutil.net_io_counters(pernic=True).items()):
        link = links.get(name)
        if link is None or "loopback" in link.flags or name == "lo":
            continue
        interface = {"network.interface.name": name}
        if not link.isup and not found.packets_recv and not found.packets_sent:
            continue  # never in use
        for direction, size, count, dropped, errors in (
            ("receive", found.bytes_recv, found.packets_recv, found.dropin, found.errin),
            ("transmit", found.bytes_sent, found.packets_sent, found.dropout, found.errout),
        ):
            about = {**interface, "network.io.direction": direction}
            yield Reading("system.network.io", "By", size, about)
            yield Reading("system.network.packet.count", "{packet}", count, about)
            yield Reading("system.network.packet.dropped", "{packet}", dropped, about)
            yield Reading("system.network.errors", "{error}", errors, about)
        yield Reading("hw.network.up", "1", float(link.isup), interface)
        if link.speed > 0:
            yield Reading("hw.network.bandwidth.limit", "By/s", link.speed * 125_000.0, interface)
        changes = SYS / "class" / "net" / name / "carrier_changes"
        if changes.exists():
            changed = float(changes.read_text())
            yield Reading("system.linux.network.carrier_changes", "{change}", changed, interface)


def sensors(_: dict[str, Any]) -> Iterator[Reading]:
    """Temperatures and fans."""
    for chip, heats in sorted(psutil.sensors_temperatures().items()):
        for number, heat in enumerate(heats):
            if heat.current is not None:
                about = {"hw.id": heat.label or str(number), "hw.parent": chip}
                yield Reading("hw.temperature", "Cel", heat.current, about)
    for chip, fans in sorted(psutil.sensors_fans().items()):
        for number, fan in enumerate(fans):
            about = {"hw.id": fan.label or str(number), "hw.parent": chip}
            yield Reading("hw.fan.speed", "rpm", fan.current, about)


def pressure(_: dict[str, Any]) -> Iterator[Reading]:
    """Seconds in which tasks waited for a resource (PSI; kernel: accounting/psi.rst)."""
    for resource in ("cpu", "io", "memory"):
        for line in (PROC / "pressure" / resource).read_text().splitlines():
            kind, *fields = line.split()
            if kind == "full" and resource == "cpu":
                continue  # has no meaning for the whole host
            name = "waiting" if kind == "some" else "stalled"
            microseconds = float(dict(field.split("=") for field in fields)["total"])
            metric = f"system.linux.pressure.{resource}.{name}_time"
            yield Reading(metric, "s", microseconds / 1e6)


def whole(_: dict[str, Any]) -> Iterator[Reading]:
    """Uptime, processes and file handles."""
    yield Reading("system.uptime", "s", float((PROC / "uptime").read_text().split()[0]))
    yield Reading("system.process.count", "{process}", len(psutil.pids()))
    used, unused, limit = (PROC / "sys" / "fs" / "file-nr").read_text().split()
    share = _share(float(used) - float(unused), float(limit))
    yield Reading("system.linux.file_descriptor.utilization", "1", share)


SUBJECTS: tuple[Subject, ...] = (
    processor, memory, paging, filesystems, disks, network, sensors, pressure, whole,
)  # fmt: skip


def _share(part: float, total: float) -> float:
    """Return part / total, which rounding of counters must not push out of 0..1."""
    return min(1.0, max(0.0, part / total)) if total > 0 else 0.0
