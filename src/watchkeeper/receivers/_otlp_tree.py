"""What an OTLP sender keeps repeating, each piece once: a tree of byte strings in flat arrays.

A series is a path: resource, scope, metric's name, its unit and kind, a point's attributes, and
what is told of a histogram. Each piece is a node below the one before, found by its parent, its
tag and its bytes. Senders keep their order, so the node that followed last time is tried first;
only when its bytes differ is a hash needed. Bytes are always compared in full: a hash is no proof.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from watchkeeper.receivers._wire import word
from watchkeeper.slots import ABSENT, Slots, fill, grown, mixed

Bytes = npt.NDArray[np.uint8]
Nodes = npt.NDArray[np.uint64]

ROOT = 0

# Columns of `nodes`. A node's bytes begin where those of the node before end. Of the root, which
# has none, the hash is how many nodes there are and the path is the last one asked for.
HASH, PATH, END, NEXT = range(4)  # PATH: parent << 32 | tag; NEXT: what was asked for after it
COUNT, LAST = HASH, PATH

NODE_ROOM, BYTE_ROOM, COLLIDING = -3, -4, -5  # in place of a node

# Half the slots are empty, so honest keys never come near it (in four million of them the longest
# run is about eighty). Who chooses bytes that collide is refused, and costs us no more than this.
PROBES_MAX = 512


class Tree:
    """The nodes; number 0 is the root. Kernels are handed `slots`, `nodes` and `data`.

    Three arrays and no structure of them: numba counts the references to each array of a
    structure anew at every call, which costs more than the call.
    """

    def __init__(self) -> None:
        self.slots: Slots = np.full(2048, ABSENT, np.uint32)  # a power of two, half of it nodes
        self.nodes: Nodes = np.zeros((1024, 4), np.uint64)
        self.data: Bytes = np.zeros(1 << 16, np.uint8)
        self.nodes[ROOT, COUNT] = 1

    def __len__(self) -> int:
        return int(self.nodes[ROOT, COUNT])

    @property
    def size(self) -> int:
        """How many bytes all nodes have together."""
        return int(self.nodes[len(self) - 1, END])

    def piece(self, node: int) -> tuple[int, int, bytes]:
        """Return a node's parent, tag and bytes."""
        start = int(self.nodes[node - 1, END]) if node else 0
        path, end = int(self.nodes[node, PATH]), int(self.nodes[node, END])
        return path >> 32, path & 0xFFFFFFFF, self.data[start:end].tobytes()

    def make_room(self, nodes: int, size: int) -> None:
        """Have room for so many nodes, a power of two, and so many bytes."""
        if size > len(self.data):
            self.data = grown(self.data, size)
        if nodes > len(self.nodes):
            self.nodes = grown(self.nodes, nodes)
            self.slots = np.full(2 * nodes, ABSENT, np.uint32)
            fill(self.slots, self.nodes[:, HASH], 1, int(self.nodes[ROOT, COUNT]))

    def prune(self, count: int) -> None:
        """Forget all but the first `count` nodes."""
        _prune(self.slots, self.nodes, count)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _hashed(path: np.uint64, data: Bytes, start: int, end: int) -> np.uint64:
    h = mixed(path)
    at = start
    while at + 8 <= end:
        h = (h ^ word(data, at)) * np.uint64(0x9E3779B97F4A7C15)
        h ^= h >> np.uint64(29)
        at += 8
    rest = np.uint64(end - start)
    while at < end:
        rest = rest << np.uint64(8) | np.uint64(data[np.uint64(at)])
        at += 1
    return mixed(h ^ rest)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _same(one: Bytes, first: int, two: Bytes, second: int, length: int) -> bool:
    k = 0
    while k + 8 <= length:
        if word(one, first + k) != word(two, second + k):
            return False
        k += 8
    while k < length:
        if one[np.uint64(first + k)] != two[np.uint64(second + k)]:
            return False
        k += 1
    return True


@numba.njit(cache=True, nogil=True, fastmath=False)
def _is(
    nodes: Nodes, told: Bytes, node: np.uint64, path: np.uint64, data: Bytes, start: int, end: int
) -> bool:
    first = int(np.int64(nodes[node - np.uint64(1), END]))
    length = end - start
    if nodes[node, PATH] != path or np.int64(nodes[node, END]) - first != length:
        return False
    return bool(_same(told, first, data, start, length))


@numba.njit(cache=True, nogil=True, fastmath=False)
def path(parent: int, tag: int) -> np.uint64:
    """Return under what the bytes of a node stand."""
    return np.uint64(parent) << np.uint64(32) | np.uint64(tag)


@numba.njit(cache=True, nogil=True, fastmath=False)
def below(
    slots: Slots, nodes: Nodes, told: Bytes, path: np.uint64, data: Bytes, start: int, end: int
) -> int:
    """Return the node of these bytes under `path`, which is new if need be; negative: no room."""
    last = nodes[ROOT, LAST]
    node = nodes[last, NEXT]
    if node != np.uint64(ROOT) and _is(nodes, told, node, path, data, start, end):
        nodes[ROOT, LAST] = node
        return int(np.int64(node))
    h = _hashed(path, data, start, end)
    mask = np.uint64(len(slots) - 1)
    slot, probes = h & mask, 0
    while slots[slot] != ABSENT:
        node = np.uint64(slots[slot])
        if nodes[node, HASH] == h and _is(nodes, told, node, path, data, start, end):
            nodes[last, NEXT] = node
            nodes[ROOT, LAST] = node
            return int(np.int64(node))
        probes += 1
        if probes > PROBES_MAX:
            return COLLIDING
        slot = (slot + np.uint64(1)) & mask
    node = nodes[ROOT, COUNT]
    to = np.int64(nodes[node - np.uint64(1), END])
    if node == np.uint64(len(nodes)):
        return NODE_ROOM
    if to + end - start > len(told):
        return BYTE_ROOM
    for k in range(end - start):
        told[np.uint64(to + k)] = data[np.uint64(start + k)]
    slots[slot] = node
    nodes[node, HASH], nodes[node, PATH] = h, path
    nodes[node, END], nodes[node, NEXT] = to + end - start, ROOT
    nodes[last, NEXT] = node
    nodes[ROOT, COUNT], nodes[ROOT, LAST] = node + np.uint64(1), node
    return int(np.int64(node))


@numba.njit(cache=True, nogil=True, fastmath=False)
def _prune(slots: Slots, nodes: Nodes, count: int) -> None:
    """The newest goes first, so that no other's way through the slots is broken off."""
    mask = np.uint64(len(slots) - 1)
    known = np.int64(nodes[ROOT, COUNT])
    for node in range(known - 1, count - 1, -1):
        slot = nodes[node, HASH] & mask
        while slots[slot] != node:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = ABSENT
    nodes[ROOT, LAST] = ROOT
    if known > count:
        nodes[ROOT, COUNT] = count
        for node in range(count):
            if nodes[node, NEXT] >= np.uint64(count):
                nodes[node, NEXT] = ROOT
