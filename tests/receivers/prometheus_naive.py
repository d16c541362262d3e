"""Prometheus' write requests as the specification has them: written, and read without haste.

What reads here shares nothing with the receiver and makes an object of everything.
"""

import itertools
import struct

from watchkeeper.model import STALE_BITS

NAN = 0x7FF8000000000001


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, value):
    """Write one field: an integer, a double (as 8 bytes in a tuple), or bytes."""
    if isinstance(value, tuple):
        return varint(8 * number + 1) + value[0]
    if isinstance(value, bytes):
        return varint(8 * number + 2) + varint(len(value)) + value
    return varint(8 * number) + varint(value)


def double(value):
    """Return a field's value from a float, or from the bits of one."""
    return (struct.pack("<Q" if isinstance(value, int) else "<d", value),)


def sample(time, value):
    return field(1, double(value)) + field(2, time)


def histogram(time, count, total):
    """Write a native histogram with buckets; `count` is an integer or a float."""
    counted = field(1, count) if isinstance(count, int) else field(2, double(count))
    buckets = field(11, field(1, 0) + field(2, 2)) + field(12, varint(2) + varint(4))
    return counted + field(3, double(total)) + field(4, 6) + buckets + field(15, time)


def text(value):
    return value if isinstance(value, bytes) else value.encode("utf-8")


def label(name, value):
    return field(1, field(1, text(name)) + field(2, text(value)))


def first(series, more=b""):
    """Write a WriteRequest of version 1: (labels as pairs, samples, histograms) of each series."""
    out = b""
    for labels, samples, *rest in series:
        one = b"".join(label(*pair) for pair in labels)
        one += b"".join(field(2, sample(*each)) for each in samples)
        one += b"".join(field(4, histogram(*each)) for each in (rest[0] if rest else ()))
        out += field(1, one)
    return out + more


def second(series, more=b"", packed=True, order=None):
    """Write a Request of version 2; `order` says in which order symbols are numbered."""
    symbols = {b"": 0}
    for word in order or ():
        symbols.setdefault(text(word), len(symbols))
    out = b""
    for labels, samples, *rest in series:
        words = [text(word) for pair in labels for word in pair]
        references = [symbols.setdefault(word, len(symbols)) for word in words]
        if packed:
            one = field(1, b"".join(varint(each) for each in references))
        else:
            one = b"".join(field(1, each) for each in references)
        one += b"".join(field(2, sample(*each)) for each in samples)
        one += b"".join(field(3, histogram(*each)) for each in (rest[0] if rest else ()))
        out += field(5, one + field(5, field(1, 1)))
    return b"".join(field(4, each) for each in symbols) + out + more


def number(data, at):
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            if value >= 1 << 64:
                raise ValueError("more than 64 bits")
            return value, at
    raise ValueError("a number breaks off")


def fields(data):
    """Yield number, wire type, value, beginning and end of each field; ValueError when broken."""
    at = 0
    while at < len(data):
        begun = at
        tag, at = number(data, at)
        wire, size = tag & 7, 0
        if not 8 <= tag < 1 << 32:
            raise ValueError("no tag")
        if wire == 0:
            value, at = number(data, at)
        elif wire == 2:
            size, at = number(data, at)
            value = data[at : at + size]
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            value = data[at : at + size]
        else:
            raise ValueError("a group")
        at += size
        if at > len(data):
            raise ValueError("a field breaks off")
        yield tag >> 3, wire, value, begun, at


def message(data, known):
    """Return the last value of each known field; `known` maps numbers to wire types."""
    found = {}
    for key, wire, value, _, _ in fields(data):
        if key in known:
            if wire != known[key]:
                raise ValueError("another wire type")
            found.pop({1: 2, 2: 1}.get(key) if len(known) == 4 else None, None)
            found[key] = value
    return found


def bits(value):
    return struct.unpack("<Q", value)[0] if isinstance(value, bytes) else value


def signed(value):
    return value - (1 << 64) if value >> 63 else value


def readings(data):
    """Return time and bits of what a histogram becomes: its count and its sum."""
    found = message(data, {1: 0, 2: 1, 3: 1, 15: 0})
    count = bits(struct.pack("<d", float(found[1]))) if 1 in found else bits(found.get(2, 0))
    total, time = bits(found.get(3, 0)), signed(found.get(15, 0))
    return (time, STALE_BITS if total == STALE_BITS else count), (time, total)


def pairs(data, version, symbols):
    """Return the labels of one series as pairs of bytes; None when they cannot be read."""
    try:
        runs = list(fields(data))
        if version == 1:
            labels = []
            for _, _, inside, _, _ in runs:
                parts = {}
                for key, wire, value, _, _ in fields(inside):
                    if wire != 2 or key > 2:
                        return None
                    parts[key] = value
                labels.append((parts.get(1, b""), parts.get(2, b"")))
            return labels
        words = []
        for _, wire, value, _, _ in runs:
            if wire == 0:
                words.append(symbols[value])
                continue
            at = 0
            while at < len(value):
                reference, at = number(value, at)
                words.append(symbols[reference])
        return None if len(words) % 2 else list(zip(words[::2], words[1::2], strict=True))
    except (ValueError, IndexError):
        return None


def usable(labels):
    """Return labels as text when they keep the rules of remote write; None otherwise."""
    try:
        labels = [(name.decode(), value.decode()) for name, value in labels or [(b"", b"")]]
    except UnicodeDecodeError:
        return None
    names = [name for name, _ in labels]
    good = names == sorted(set(names)) and all(all(pair) for pair in labels)
    return dict(labels) if good and "__name__" in names else None


def read(data, version):
    """Return good samples (labels, suffix, time, bits) and the count of bad ones.

    Raises ValueError for a request that is broken as a whole.
    """
    symbols, series = [], []
    for key, wire, value, _, _ in fields(data):
        if (key, wire) == ((1, 2) if version == 1 else (5, 2)):
            series.append(value)
        elif version == 2 and (key, wire) == (4, 2):
            symbols.append(value)
        elif key in ((1, 4, 5) if version == 1 else (1, 2, 3, 4, 5)):
            raise ValueError("another message")
    good, bad = [], 0
    for one in series:
        found, runs = [], []
        for key, wire, value, begun, end in fields(one):
            if key == 1 and (wire == 2 or (wire == 0 and version == 2)):
                runs.append((begun, end))
            elif (key, wire) == (2, 2):
                parts = message(value, {1: 1, 2: 0})
                found.append(("", signed(parts.get(2, 0)), bits(parts.get(1, 0))))
            elif (key, wire) == (4 if version == 1 else 3, 2):
                count, total = readings(value)
                found += [("_count", *count), ("_sum", *total)]
            elif key in (1, 2, 3, 4) and (key, wire) != (3 if version == 1 else 4, 2):
                raise ValueError("another wire type")
        together = all(a[1] == b[0] for a, b in itertools.pairwise(runs))
        text = one[runs[0][0] : runs[-1][1]] if runs and together else b""
        labels = usable(pairs(text, version, symbols)) if together else None
        good += [(labels, *each) for each in found if labels is not None]
        bad += len(found) if labels is None else 0
    return good, bad
