"""What makes something a receiver: its own examples, and every check that runs on them.

    for check in receiver_checks():
        check(examples)

The examples are requests of the protocol, written without the receiver's help. Every check opens
decoders of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from watchkeeper.errors import (
    Malformed,
    Overloaded,
    OverQuota,
    RequestError,
    TooLarge,
    Unsupported,
)
from watchkeeper.identity import Identity
from watchkeeper.key_table import KeyTable
from watchkeeper.model import KEYS, REJECTS, SAMPLES, Batch
from watchkeeper.receivers import Decoder, Delivery, Limits, Received, Receiver

DAMAGES = 60  # of each good request
ERRORS = (
    Malformed("it is cut"),
    Unsupported("another protocol"),
    TooLarge("more than may be"),
    OverQuota("more than you may", retry_after=7.0),
    Overloaded("not now", retry_after=0.2),
)


@dataclass(frozen=True)
class Examples:
    """Requests of one protocol.

    :param good: all of their records can be used; at least one has several series.
    :param partial: some of their records can be used, others not.
    :param broken: nothing can be used; decoding raises.
    """

    receiver: Receiver
    good: Sequence[Delivery]
    partial: Sequence[Delivery] = ()
    broken: Sequence[Delivery] = ()

    def open(self, limits: Limits | None = None) -> Decoder:
        """Return a decoder that has seen nothing."""
        return self.receiver.open(limits or Limits(), Identity())


ReceiverCheck = Callable[[Examples], None]
Contents = Counter[tuple[object, ...]]


def receiver_checks() -> Iterator[ReceiverCheck]:
    """Yield the behaviours of every receiver."""
    yield check_it_has_a_name_and_routes
    yield check_its_own_examples_are_good
    yield check_batches_fit_the_model
    yield check_good_requests_lose_nothing
    yield check_partial_requests_keep_what_is_good
    yield check_broken_requests_raise_and_leave_no_trace
    yield check_what_was_seen_before_changes_nothing
    yield check_forgetting_changes_nothing
    yield check_tenants_are_told_apart
    yield check_a_request_that_is_too_long_is_refused
    yield check_a_request_of_too_many_samples_is_refused
    yield check_damaged_requests_are_decoded_or_refused
    yield check_answers_tell_success_from_loss
    yield check_answers_to_errors_say_when_to_come_again


def check_it_has_a_name_and_routes(examples: Examples) -> None:
    """The house can tell it from others and knows which requests are its own."""
    receiver = examples.receiver
    assert receiver.name
    assert len(set(receiver.routes)) == len(receiver.routes) > 0
    for route in receiver.routes:
        assert route.method.isupper()
        assert route.path.startswith("/")
    for delivery in (*examples.good, *examples.partial):
        assert (delivery.method, delivery.path) in receiver.routes


def check_its_own_examples_are_good(examples: Examples) -> None:
    """What a receiver warms up with can be used whole, and is small."""
    own = examples.receiver.examples()
    check_good_requests_lose_nothing(replace(examples, good=own))
    for delivery in own:
        assert (delivery.method, delivery.path) in examples.receiver.routes
        assert len(delivery.body) <= 4096


def check_batches_fit_the_model(examples: Examples) -> None:
    """Batches have the schemas of the model, and series are rows of their keys."""
    decoder = examples.open()
    for delivery in (*examples.good, *examples.partial, *examples.good):
        batch = decoder.decode(delivery)
        if batch is not None:
            _fits(batch, examples.receiver, delivery)


def check_good_requests_lose_nothing(examples: Examples) -> None:
    """Nothing of a good request is refused, and it says something."""
    decoder = examples.open()
    assert examples.good
    for delivery in examples.good:
        batch = decoder.decode(delivery)
        assert batch is not None
        assert batch.samples.num_rows or batch.controls
        assert batch.unread.num_rows == 0, batch.unread.to_pylist()[:3]


def check_partial_requests_keep_what_is_good(examples: Examples) -> None:
    """A record that cannot be used says why, and costs its neighbours nothing."""
    for delivery in examples.partial:
        batch = examples.open().decode(delivery)
        assert batch is not None
        assert batch.samples.num_rows or batch.controls
        assert batch.unread.num_rows
        for row in batch.unread.to_pylist():
            assert row["reason"], row
            assert row["detail"], row
            assert row["origin"].startswith(batch.origin or batch.source), row


def check_broken_requests_raise_and_leave_no_trace(examples: Examples) -> None:
    """What follows a broken request is decoded as if that had never come."""
    decoder = examples.open()
    expected = [contents(examples.open().decode(delivery)) for delivery in examples.good]
    for broken in examples.broken:
        try:
            batch = decoder.decode(broken)
        except RequestError:
            assert [contents(decoder.decode(delivery)) for delivery in examples.good] == expected
            continue
        raise AssertionError(f"taken in: {broken} gives {batch}")


def check_what_was_seen_before_changes_nothing(examples: Examples) -> None:
    """A decoder that has seen much, in any order, says the same as one that has seen nothing."""
    requests = [*examples.good, *examples.partial]
    expected = [contents(examples.open().decode(delivery)) for delivery in requests]
    decoder = examples.open()
    for order in (range(len(requests)), reversed(range(len(requests))), range(len(requests))):
        for k in order:
            assert contents(decoder.decode(requests[k])) == expected[k], f"request {k}"


def check_forgetting_changes_nothing(examples: Examples) -> None:
    """A decoder that may remember a single series says the same as one that remembers all."""
    decoder = examples.open(Limits(known=1))
    for delivery in (*examples.good, *examples.partial, *examples.good):
        fresh = contents(examples.open().decode(delivery))
        assert contents(decoder.decode(delivery)) == fresh


def check_tenants_are_told_apart(examples: Examples) -> None:
    """A tenant's batches come from a source of the tenant's own, and say the same."""
    for delivery in examples.good:
        batch = examples.open().decode(replace(delivery, tenant="t-1"))
        assert batch is not None
        assert batch.source == f"{examples.receiver.name}/t-1"
        assert contents(batch) == contents(examples.open().decode(delivery))


def check_a_request_that_is_too_long_is_refused(examples: Examples) -> None:
    """The limit on a body is kept; a body within it is not affected."""
    for delivery in examples.good:
        try:
            batch = examples.open(Limits(body=1)).decode(delivery)
        except TooLarge:
            continue
        raise AssertionError(f"taken in: {batch}")


def check_a_request_of_too_many_samples_is_refused(examples: Examples) -> None:
    """The limit on samples is kept; a request that reaches it is not affected."""
    for delivery in examples.good:
        batch = examples.open().decode(delivery)
        count = 0 if batch is None else batch.samples.num_rows
        if count == 0:
            continue
        again = examples.open(Limits(samples=count)).decode(delivery)
        assert again is not None
        assert again.samples.num_rows == count
        if count > 1:
            try:
                batch = examples.open(Limits(samples=count - 1)).decode(delivery)
            except TooLarge:
                continue
            raise AssertionError(f"taken in: {batch}")


def check_damaged_requests_are_decoded_or_refused(examples: Examples) -> None:
    """Cut or changed bodies give a batch that fits the model, or a RequestError; nothing else."""
    chance = np.random.default_rng(7)
    decoder = examples.open()
    for delivery in (*examples.good, *examples.partial):
        for _ in range(DAMAGES if delivery.body else 0):
            body = bytearray(delivery.body)
            for _ in range(chance.integers(0, 4)):
                body[chance.integers(len(body))] = chance.integers(256)
            damaged = bytes(body[: chance.integers(1, len(body) + 1)])
            try:
                batch = decoder.decode(replace(delivery, body=damaged))
            except RequestError:
                continue
            if batch is not None:
                _fits(batch, examples.receiver, delivery)


def check_answers_tell_success_from_loss(examples: Examples) -> None:
    """All good is a success. A loss shows in the answer, which is then another."""
    for delivery in examples.good:
        answer = examples.receiver.answer
        good = answer(delivery, Received(offered=5, accepted=5))
        nothing = answer(delivery, Received())
        lost = answer(
            delivery,
            Received(5, 3, 2, {"too_old": 2}, ("2 of them \N{SNOWMAN} are older\r\nthan a day",)),
        )
        assert 200 <= good.status < 300
        assert 200 <= nothing.status < 300
        assert (lost.status, lost.body) != (good.status, good.body)
        for each in (good, nothing, lost):
            _is_plain(each.headers)


def check_answers_to_errors_say_when_to_come_again(examples: Examples) -> None:
    """Each kind of refusal has a status of its own sense, and none of them is 500."""
    for delivery in (*examples.good[:1], *examples.broken[:1]):
        said = {type(e): examples.receiver.answer(delivery, e) for e in ERRORS}
        for answer in said.values():
            assert 400 <= answer.status != 500
            _is_plain(answer.headers)
        assert said[Overloaded].status == 503
        assert said[Overloaded].headers["Retry-After"] == "1"
        assert said[OverQuota].status == 429
        assert said[OverQuota].headers["Retry-After"] == "7"
        assert all(said[kind].status < 500 for kind in (Malformed, Unsupported, TooLarge))
        assert all("Retry-After" not in said[kind].headers for kind in (Malformed, TooLarge))


def contents(batch: Batch | None) -> Contents:
    """Return what a batch says, whatever the numbers of its rows; values by their bits.

    Not who says it: the tenant is in the source, and in the actor of a control.
    """
    found: Contents = Counter()
    if batch is None:
        return found
    keys = _keys(batch)
    series = batch.samples["series"].to_pylist()
    times = batch.samples["time"].to_pylist()
    bits = batch.samples["value"].to_numpy().view(np.uint64).tolist()
    found.update((*keys[s], t, v) for s, t, v in zip(series, times, bits, strict=True))
    found.update(tuple(str(v) for v in row.values()) for row in batch.unread.to_pylist())
    found.update((c.kind, c.body) for c in batch.controls)
    return found


def _keys(batch: Batch) -> list[tuple[str, str, str]]:
    keys = batch.keys.since(0) if isinstance(batch.keys, KeyTable) else batch.keys
    assert keys.schema.equals(KEYS)
    return list(zip(*(column.to_pylist() for column in keys.columns), strict=True))


def _fits(batch: Batch, receiver: Receiver, delivery: Delivery) -> None:
    tenant = f"/{delivery.tenant}" if delivery.tenant else ""
    assert batch.source == f"{receiver.name}{tenant}"
    assert batch.cursor == "", "a request has no place to resume from"
    assert batch.samples.schema.equals(SAMPLES)
    assert batch.unread.schema.equals(REJECTS)
    assert batch.offered > 0 or batch.controls, "an empty batch is None"
    keys = _keys(batch)
    if isinstance(batch.keys, pa.RecordBatch):
        assert len(set(keys)) == len(keys), "a key appears twice"
    series = batch.samples["series"].to_numpy()
    assert not len(series) or int(series.max()) < len(keys)
    for s in np.unique(series).tolist():
        assert keys[s][0], "a sample is about something"
        assert keys[s][1], "a sample is of a metric"


def _is_plain(headers: object) -> None:
    assert isinstance(headers, dict)
    for name, value in headers.items():
        assert isinstance(name, str)
        assert isinstance(value, str)
        assert (name + value).isprintable()
        assert (name + value).isascii()
