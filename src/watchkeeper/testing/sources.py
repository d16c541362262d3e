"""What makes something a source. Every check takes the source and may open it as often as it likes.

    for check in source_checks():
        check(source)

A source whose telemetry is all there already (files) must pass all of them; a sampler, which
measures something new at every poll, those of `sampler_checks`; a collector, whose targets must be
there and answer, those of `collector_checks`.
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
        readings = {"up", "scrape_duration_seconds", "scrape_samples_scraped"}
        assert any(key[1] not in readings for one in found for key in one), "nothing but readings"
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
