"""What makes something a source. Every check takes the source and may open it as often as it likes.

    for check in source_checks():
        check(source)

A source whose telemetry is all there already (files) must pass all of them; a sampler, which
measures something new at every poll, those of `sampler_checks`; a collector, whose targets must be
there and answer, those of `collector_checks`; one that is sent something, those of
`subscriber_checks`, which let its origin send.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from watchkeeper.errors import InputError
from watchkeeper.key_table import KeyTable
from watchkeeper.model import KEYS, REJECTS, SAMPLES, Batch, Cursor
from watchkeeper.sources import Reader, Source
from watchkeeper.sources._rounds import Rounds

SourceCheck = Callable[[Source], None]
Offered = Counter[tuple[object, ...]]
POLLS_MAX = 10_000
SAMPLES_MAX = 3  # polls of a source that always has something
ROUNDS_MAX, SLACK = 2, 5.0  # rounds, and seconds more, in which every target must have been heard
CLOSED_MAX = 3.0  # seconds
SENT_MAX = 30.0  # seconds in which what was sent must come
ASKING = {"up", "scrape_duration_seconds", "scrape_samples_scraped"}  # told of the asking itself


def source_checks() -> Iterator[SourceCheck]:
    """Yield the behaviours of a source that hands on what waits."""
    yield from sampler_checks()
    yield check_reading_twice_is_the_same
    yield check_resuming_loses_and_repeats_nothing


def sampler_checks() -> Iterator[SourceCheck]:
    """Yield the behaviours of every source."""
    yield check_it_has_a_name_and_an_interval
    yield check_batches_fit_the_model
    yield check_closing_twice_is_safe


def collector_checks() -> Iterator[SourceCheck]:
    """Yield the behaviours of a source that asks many targets."""
    yield check_it_has_a_name_and_an_interval
    yield check_every_target_is_heard_within_a_round
    yield check_batches_of_rounds_fit_the_model
    yield check_closing_rounds_is_quick_and_safe


SubscriberCheck = Callable[[Source, Callable[[], None]], None]


def subscriber_checks() -> Iterator[SubscriberCheck]:
    """Yield the behaviours of a source that is sent what it asked for once.

    Each takes the source and what makes its origin send something new.
    """
    yield check_what_is_sent_fits_the_model
    yield check_what_is_not_durable_comes_again
    yield check_what_is_durable_comes_once


def check_it_has_a_name_and_an_interval(source: Source) -> None:
    """The service can tell it from others and knows when to poll again."""
    assert source.name
    assert source.interval > 0
    assert source.sampled in (True, False)


def check_batches_fit_the_model(source: Source) -> None:
    """Batches have the schemas of the model, keys are distinct, and series are rows of them."""
    reader = source.open(None)
    try:
        for batch in _some(reader, SAMPLES_MAX if source.sampled else POLLS_MAX):
            assert batch.source == source.name
            assert isinstance(batch.keys, pa.RecordBatch)
            assert batch.keys.schema.equals(KEYS)
            assert batch.samples.schema.equals(SAMPLES)
            assert batch.unread.schema.equals(REJECTS)
            keys = list(zip(*(column.to_pylist() for column in batch.keys.columns), strict=True))
            assert len(set(keys)) == len(keys), "a key appears twice"
            series = batch.samples["series"].to_numpy()
            assert not len(series) or int(series.max()) < len(keys)
            assert batch.offered > 0, "an empty batch is None"
    finally:
        reader.close()


def check_closing_twice_is_safe(source: Source) -> None:
    """`close` may be called at any time, and again."""
    reader = source.open(None)
    reader.close()
    reader.close()
    reader = source.open(None)
    next(_some(reader), None)
    reader.close()
    reader.close()


def check_every_target_is_heard_within_a_round(source: Source) -> None:
    """Each target answers; what it says comes with `up`, how long it took and how much it was."""
    reader = _rounds(source)
    try:
        found = [contents(batch) for batch in _round(reader)]
        ups = {key[0]: key for one in found for key in one if key[1] == "up"}
        assert len(ups) >= 1
        assert all(state.succeeded is not None for state in reader.states()), reader.states()
        assert all(state.state == "closed" for state in reader.states())
        assert any(key[1] not in ASKING for one in found for key in one), "nothing but readings"
    finally:
        reader.close()


def check_batches_of_rounds_fit_the_model(source: Source) -> None:
    """Batches have the schemas of the model, keys are distinct, and cursors never go back."""
    reader = _rounds(source)
    try:
        cursors = []
        for batch in _round(reader):
            assert batch.source == source.name
            assert sum(contents(batch).values()) == batch.offered
            cursors.append(int(batch.cursor.split()[0]))
            keys = list(zip(*(c.to_pylist() for c in keys_of(batch).columns), strict=True))
            assert len(set(keys)) == len(keys), "a key appears twice"
        assert cursors == sorted(cursors)
    finally:
        reader.close()


def check_closing_rounds_is_quick_and_safe(source: Source) -> None:
    """`close` ends what is under way, and may be called again."""
    reader = _rounds(source)
    next(_round(reader))
    began = time.monotonic()
    reader.close()
    reader.close()
    assert time.monotonic() - began < CLOSED_MAX


def check_what_is_sent_fits_the_model(source: Source, send: Callable[[], None]) -> None:
    """Batches have the schemas of the model, keys are distinct; `close` may be called again."""
    check_it_has_a_name_and_an_interval(source)
    reader = source.open(None)
    try:
        batch, _ = _sent(reader, send)
        assert batch.source == source.name
        assert sum(contents(batch).values()) == batch.offered
        keys = list(zip(*(c.to_pylist() for c in keys_of(batch).columns), strict=True))
        assert len(set(keys)) == len(keys), "a key appears twice"
    finally:
        reader.close()
        reader.close()


def check_what_is_not_durable_comes_again(source: Source, send: Callable[[], None]) -> None:
    """What was polled and never became durable is sent to the next reader too."""
    reader = source.open(None)
    _, first = _sent(reader, send)
    reader.close()
    reader = source.open(None)
    try:
        _, again = _sent(reader, lambda: None)
    finally:
        reader.close()
    assert again == first


def check_what_is_durable_comes_once(source: Source, send: Callable[[], None]) -> None:
    """A reader at the cursor of a batch gets what came after it, though nothing was confirmed."""
    reader = source.open(None)
    batch, first = _sent(reader, send)
    reader.close()
    reader = source.open(batch.cursor)
    try:
        _, second = _sent(reader, send)
    finally:
        reader.close()
    assert first
    assert not first & second, "told twice"


def _sent(reader: Reader, send: Callable[[], None]) -> tuple[Batch, set[tuple[object, ...]]]:
    """Let the origin send, once the reader is ready; return what came of it."""
    end = time.monotonic() + SENT_MAX
    sent = False
    while True:
        assert time.monotonic() < end, "nothing came"
        batch = reader.poll()
        ready = all(one.succeeded is not None for one in getattr(reader, "states", list)())
        if batch is not None:
            said = {key for key in contents(batch) if key[1] not in ASKING}
            if said:
                return batch, said
        if ready and not sent:
            send()
            sent = True


def _rounds(source: Source) -> Rounds:
    reader = source.open(None)
    assert isinstance(reader, Rounds), "`open` returns Rounds"
    return reader


def _round(reader: Rounds) -> Iterator[Batch]:
    """Yield batches until every target has been heard."""
    end = time.monotonic() + ROUNDS_MAX * reader.interval + SLACK
    while not (reader.states() and all(state.succeeded for state in reader.states())):
        assert time.monotonic() < end, reader.states()
        batch = reader.poll()
        if batch is not None:
            yield batch
    batch = reader.poll()
    if batch is not None:
        yield batch


def check_reading_twice_is_the_same(source: Source) -> None:
    """Two readers from the beginning offer the same."""
    assert offered(source, None) == offered(source, None)


def check_resuming_loses_and_repeats_nothing(source: Source) -> None:
    """A new reader at the cursor of any batch offers exactly what came after it."""
    reader = source.open(None)
    batches = list(_some(reader))
    reader.close()
    whole: Offered = Counter()
    for batch in batches:
        whole += contents(batch)
    before: Offered = Counter()
    for batch in batches:
        before += contents(batch)
        assert before + offered(source, batch.cursor) == whole, f"at cursor {batch.cursor}"


def offered(source: Source, cursor: Cursor | None) -> Offered:
    """Return everything a source offers after a cursor, whatever the batches."""
    total: Offered = Counter()
    reader = source.open(cursor)
    try:
        for batch in _some(reader):
            total += contents(batch)
    finally:
        reader.close()
    return total


def keys_of(batch: Batch) -> pa.RecordBatch:
    """Return the keys of a batch, or all of the table it goes by."""
    return batch.keys.since(0) if isinstance(batch.keys, KeyTable) else batch.keys


def contents(batch: Batch) -> Offered:
    """Return what one batch offers, with repeats counted; values by their bits."""
    keys = list(zip(*(column.to_pylist() for column in keys_of(batch).columns), strict=True))
    series = batch.samples["series"].to_pylist()
    times = batch.samples["time"].to_pylist()
    bits = batch.samples["value"].to_numpy().view(np.uint64).tolist()
    found: Offered = Counter(
        (*keys[s], time, value) for s, time, value in zip(series, times, bits, strict=True)
    )
    for row in batch.unread.to_pylist():
        found[tuple(str(value) for value in row.values())] += 1
    return found


def _some(reader: Reader, polls: int = POLLS_MAX) -> Iterator[Batch]:
    """Yield batches until there is nothing; files that cannot be read are passed over."""
    for _ in range(polls):
        try:
            batch = reader.poll()
        except InputError:
            continue
        if batch is None:
            return
        yield batch
