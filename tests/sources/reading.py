"""Write a file, read it whole, and say what came out."""

import json

from watchkeeper.errors import InputError
from watchkeeper.sources.file import File


def read(*paths, **options):
    """Return samples (entity, metric, attributes, time, value), unread rows and errors."""
    reader = File(paths=tuple(map(str, paths)), **options).open(None)
    return drain(reader)


def drain(reader):
    samples, unread, errors = [], [], []
    while True:
        try:
            batch = reader.poll()
        except InputError as error:
            errors.append(error)
            continue
        if batch is None:
            reader.close()
            return samples, unread, errors
        keys = batch.keys.to_pylist()
        for series, time, value in zip(
            *(column.to_pylist() for column in batch.samples.columns), strict=True
        ):
            key = keys[series]
            samples.append(
                (key["entity"], key["metric"], json.loads(key["attributes"]), time, value)
            )
        unread += batch.unread.to_pylist()


def written(folder, name, *lines):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines))
    return path


def faults(unread):
    """Return (origin, reason, offered) of each row that could not be read."""
    return [(row["origin"], row["reason"], row["offered"]) for row in unread]
