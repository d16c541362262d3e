"""What one device has said over gNMI, and what of it is told each round.

Values that are sampled are told as they come. A value that is told only when it changes holds as
long as the stream does and its heartbeat comes: it is told again each round, as of now, so that
silence of a quiet leaf is no silence of the device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from watchkeeper.errors import InputError
from watchkeeper.model import Millis, Reason, attributes_text
from watchkeeper.sources import Collected
from watchkeeper.sources._devices import Device
from watchkeeper.sources._found import Reading, Unread, collected
from watchkeeper.sources._gnmi_paths import (
    ADMIN,
    OF_PORTS_THAT_ARE_ON,
    TRANSCEIVER,
    Keys,
    Path,
)
from watchkeeper.sources._gnmi_updates import Gone, Leaf, Plain, read
from watchkeeper.sources._optics import lit
from watchkeeper.sources._places import Absent, filled

LEAVES_MAX = 200_000  # of one device
_Where = tuple[str, Keys]


class _Held(NamedTuple):
    value: Plain
    heard: float  # monotonic


class Said:
    """One device's leaves since its stream began.

    :param paths: by schema path. :param patience: seconds a leaf is good for without being heard
        again: of sampled ones, and of those told on change.
    """

    def __init__(
        self, device: Device, paths: Mapping[str, Path], patience: tuple[float, float]
    ) -> None:
        self._device, self._paths, self._patience = device, paths, patience
        self._held: dict[_Where, _Held] = {}
        self._owner: dict[tuple[str, str, str], str] = {}
        self._modules: dict[str, str] = {}  # component -> interface
        self._interfaces: set[str] = set()

    def round(self, notifications: Iterable[Any], at: Millis, now: float, origin: str) -> Collected:
        """Take in what came since the last round; return what is told of it.

        :param at: the time as of which what holds is told. :param now: monotonic.
        :raises InputError: the device said what cannot be read, or too much.
        """
        came: list[Leaf] = []
        recent = at - 1000 * self._patience[False]
        for notification in notifications:
            for one in read(notification):
                if isinstance(one, Gone):
                    self._forget(one)
                elif self._note(one, now):
                    # What a stream begins with may have changed last long ago; it holds now.
                    old = self._paths[one.schema].on_change and one.at < recent
                    came.append(one._replace(at=at) if old else one)
        for where in [where for where, held in self._held.items() if self._over(where, held, now)]:
            del self._held[where]
        news = {(leaf.schema, leaf.keys) for leaf in came}
        for (schema, keys), held in self._held.items():
            if (schema, keys) not in news and self._paths[schema].on_change:
                came.append(Leaf(schema, keys, held.value, at))
        readings: list[Reading] = []
        unread: list[Unread] = []
        for leaf in came:
            told = self._told(leaf)
            if isinstance(told, Reading):
                readings.append(told)
            elif told is not None:
                unread.append(told)
        known = [key for where in self._held if (key := self._key(*where)) is not None]
        return collected(readings, unread, origin, known)

    def _note(self, leaf: Leaf, now: float) -> bool:
        """Hold a leaf; return whether it is one of those that are told."""
        name = dict(leaf.keys).get("interface.name")
        if name is not None:
            self._interfaces.add(name)
            if leaf.schema == TRANSCEIVER and isinstance(leaf.value, str):
                self._modules[leaf.value] = name
        if leaf.schema not in self._paths:
            return False
        self._held[leaf.schema, leaf.keys] = _Held(leaf.value, now)
        if len(self._held) > LEAVES_MAX:
            raise InputError(f"{self._device.name}: more than {LEAVES_MAX} leaves")
        return True

    def _forget(self, gone: Gone) -> None:
        keys = set(gone.keys)
        below = gone.schema.rstrip("/") + "/"
        for schema, held in list(self._held):
            if (schema + "/").startswith(below) and keys <= set(held):
                del self._held[schema, held]

    def _over(self, where: _Where, held: _Held, now: float) -> bool:
        return now - held.heard > self._patience[self._paths[where[0]].on_change]

    def _told(self, leaf: Leaf) -> Reading | Unread | None:
        path, key = self._paths[leaf.schema], self._key(leaf.schema, leaf.keys)
        if key is None:
            return None
        if isinstance(leaf.value, str):
            word = leaf.value.rpartition(":")[2]
            if path.words:
                number = path.words.get(word)
                return None if number is None else Reading(*key, leaf.at, float(number))
            try:
                value = float(leaf.value)
            except ValueError:
                return Unread(*key, leaf.at, leaf.value, Reason.NOT_A_NUMBER, "a number")
        else:
            value = float(leaf.value)
        if math.isnan(value):
            return Unread(*key, leaf.at, "NaN", Reason.NOT_FINITE, "a number")
        return Reading(*key, leaf.at, lit(value) if path.unit == "dBm" else value)

    def _key(self, schema: str, keys: Keys) -> tuple[str, str, str] | None:
        """Return the series of a leaf; None when it has none, or another leaf tells it already."""
        path, names = self._paths[schema], dict(keys)

        def look(place: str) -> str:
            if place == "device":
                return self._device.name
            if place == "link":
                return self._link(names)
            if place not in names:
                raise Absent(place)
            return names[place]

        try:
            entity = filled(path.entity, look)
            about = {name: filled(text, look) for name, text in path.attributes.items()}
        except Absent:
            return None
        if path.metric in OF_PORTS_THAT_ARE_ON and self._off(entity):
            return None
        if path.unit:
            about["unit"] = path.unit
        if path.entity == "{link}" and entity == self._device.entity:
            about["hw.name"] = names.get("component.name", "")
        key = entity, path.metric, attributes_text(about)
        return key if self._owner.setdefault(key, schema) == schema else None

    def _link(self, names: Mapping[str, str]) -> str:
        """Return the link of a component: told by the device, else by their names."""
        component = names.get("component.name", "")
        found = self._modules.get(component)
        if found is None:
            found = next((one for one in sorted(self._interfaces) if _same(one, component)), None)
        return self._device.entity if found is None else self._device.link(found)

    def _off(self, entity: str) -> bool:
        name = entity.removeprefix(f"link:{self._device.name}/")
        held = self._held.get((ADMIN, (("interface.name", name),)))
        return held is not None and held.value in ("DOWN", "TESTING")


def _same(interface: str, component: str) -> bool:
    """Whether a component is called like an interface, with a word before or behind it."""
    if interface == component:
        return True
    before, found, behind = component.partition(interface)
    apart = not before[-1:].isalnum() and not behind[:1].isalnum() and behind[:1] not in ("/", ".")
    return bool(found) and apart
