"""A protocol as small as can be, for tests of what lies behind the receivers.

A body has one sample a line, `entity metric time value`; `?` marks a line that cannot be read. A
body that begins with `!` is malformed, one with `#` breaks the decoder.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from watchkeeper.errors import Malformed, RequestError
from watchkeeper.key_table import KeyTable
from watchkeeper.model import KEYS, Batch, Cursor, Reason
from watchkeeper.receivers import Answer, Delivery, Millis, Received, Route, refusal, told
from watchkeeper.receivers._rows import Rejects, samples


@dataclass(frozen=True)
class Plain:
    name: str = "plain"
    path: str = "/push"

    @property
    def routes(self):
        return (Route("POST", self.path), Route("GET", self.path))

    def open(self, limits, identity):
        return PlainDecoder(self.name)

    def examples(self):
        return (Delivery("POST", self.path, {}, {}, b"host:a m 1000 1\nhost:a n 1000 2", 0),)

    def answer(self, delivery, outcome):
        if isinstance(outcome, RequestError):
            status, headers = refusal(outcome)
            return Answer(status, headers, str(outcome).encode())
        if outcome.rejected:
            return Answer(400, {}, told(outcome).encode())
        return Answer(204, {}, b"")


class PlainDecoder:
    def __init__(self, name):
        self.name, self.table, self.rows = name, KeyTable(KEYS), {}

    def decode(self, delivery):
        text = delivery.body.decode()
        if text.startswith("!"):
            raise Malformed("it begins with !")
        if text.startswith("#"):
            raise ZeroDivisionError
        source = f"{self.name}/{delivery.tenant}" if delivery.tenant else self.name
        rejects = Rejects(f"{source} request {delivery.number}")
        found = []
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith("?"):
                rejects.add(Reason.MALFORMED, "four words", offered=line, place=f"line {number}")
            else:
                found.append(line.split())
        if not found and not len(rejects):
            return None
        new = list(dict.fromkeys((e, m) for e, m, _, _ in found if (e, m) not in self.rows))
        self.table.add(
            pa.RecordBatch.from_pylist(
                [{"entity": e, "metric": m, "attributes": "{}"} for e, m in new], KEYS
            )
        )
        for key in new:
            self.rows[key] = len(self.rows)
        series = np.array([self.rows[e, m] for e, m, _, _ in found], np.uint32)
        time = np.array([int(t) for _, _, t, _ in found], np.int64)
        value = np.array([float(v) for *_, v in found], np.float64)
        columns = samples(series, time, value)
        unread = rejects.columns()
        return Batch(source, Cursor(""), self.table, columns, unread, origin=rejects._origin)


def delivery(body, tenant="", arrived=0, number=1):
    body = body.encode() if isinstance(body, str) else body
    return Delivery("POST", "/push", {}, {}, body, Millis(arrived), tenant, number)


__all__ = ["Plain", "Received", "delivery"]
