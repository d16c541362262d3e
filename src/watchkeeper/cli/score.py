"""The whole pipeline over files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from watchkeeper.cli._terminal import Output, emit, progress, say
from watchkeeper.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from watchkeeper.bulk import Progress
    from watchkeeper.model import Batch
    from watchkeeper.sources.file import Part


Many = Annotated[int, Parameter(validator=Number(gte=1))]


def score(
    *inputs: str,
    out: Path,
    pack: tuple[str, ...] = (),
    policy: tuple[Path, ...] = (),
    config: tuple[Path, ...] = (),
    layout: Literal["auto", "long", "wide", "nab"] = "auto",
    entity: str | None = None,
    entity_type: str | None = None,
    tick: str | None = None,
    workers: Many = 2,
    engine: str = "local",
    batch: Many | None = None,
    output: Output = "text",
) -> int:
    """Run the whole pipeline over files and write a report.

    Inputs are CSV, JSONL or Parquet (also .gz, .zst, .bz2, .xz), files, folders or globs. The
    folder --out is written whole or not at all: report.html, report.json, scores.parquet,
    health.parquet, decisions.jsonl, quarantine.parquet and run.json, whose `digest` is the same
    for any number of workers, batch size, folder and machine.

    Examples:

      watchkeeper score fleet.parquet --out out
      watchkeeper score 'web-1/*.csv.gz' --entity host:web-1 --out out
      watchkeeper score data/ --policy trial.yaml --out trial --workers 1

    Parameters
    ----------
    inputs
        Files, folders and globs.
    out
        Folder to write; replaced whole when it holds an earlier run.
    pack
        Contracts and policies, such as host@1; the configured ones without.
    policy
        More policy files.
    config
        Configuration files or folders.
    layout
        long, wide, nab, or found out from the columns.
    entity
        The entity of files that name none: `type:name`.
    entity_type
        The type of entities that are named without one.
    tick
        Time between evaluations, 60s unless set here.
    workers
        Threads; does not show in the result.
    engine
        Where pure work runs.
    batch
        At most so many samples at once to the detectors; does not show in the result.
    output
        text or json.
    """
    from watchkeeper import bulk, plugins
    from watchkeeper.cli._house import configured
    from watchkeeper.sources.file import scan

    settings = configured(
        config,
        tick=tick or "60s",
        packs=list(pack),
        policies=[str(path.absolute()) for path in policy],
    )
    options: dict[str, Any] = {"layout": layout, "entity": entity, "entity_type": entity_type}
    found = scan(list(inputs), **{name: value for name, value in options.items() if value})
    parts = [{"name": one.name, "size": one.size, "sha256": one.sha256} for one in found.parts]
    given = bulk.Given(", ".join(inputs), parts, [str(problem) for problem in found.problems])
    with progress("samples") as tell:

        def told(at: Progress) -> None:
            tell(at.stage, at.samples, at.total)

        try:
            run, findings = bulk.scored(
                _batches(found.parts, given.problems),
                settings.rules,
                plugins.load("engines", engine)(workers=workers),
                out,
                given,
                told,
                batch,
            )
        finally:
            for problem in given.problems:
                say(f"watchkeeper: {problem}")
    text = plugins.load("reports", "text")().render(findings).decode()
    speed = f"{run['timings']['samples_per_second']:,} samples/s, {workers} workers"
    emit(output, run, f"{text}\nreport  {out}/report.html\ndigest  {run['digest']}\n{speed}")
    return 1 if given.problems else 0


def _batches(parts: Sequence[Part], problems: list[str]) -> Iterator[Batch]:
    """Read every part; what cannot be read is noted, and the next part goes on."""
    for part in parts:
        reader = part.source.open(None)
        try:
            while True:
                try:
                    batch = reader.poll()
                except InputError as error:
                    problems.append(str(error))
                    continue
                if batch is None:
                    break
                yield batch
        finally:
            reader.close()
