"""What sees a running house: the witness, and where its spans go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchkeeper.config import Config
    from watchkeeper.observe.witness import Witness

LINGER = 2.0  # seconds for the last spans to leave


@contextmanager
def seen(settings: Config) -> Iterator[Witness]:
    """Yield the witness of a house, and send its spans where the configuration says."""
    import structlog

    from watchkeeper import __version__

    log = structlog.get_logger("watchkeeper")
    log.info(
        "starting", version=__version__, rulebook=settings.rules.digest, data=str(settings.data)
    )
    try:
        with _sent(settings) as witness:
            yield witness
    finally:
        log.info("stopped")


@contextmanager
def _sent(settings: Config) -> Iterator[Witness]:
    import structlog

    from watchkeeper.observe.witness import Witness

    if not settings.tracing.endpoint:
        yield Witness()
        return
    from watchkeeper.observe.export import Exporter  # slow to import, so only when it is wanted

    def failed(why: str, count: int) -> None:
        structlog.get_logger("watchkeeper").warning("export_failed", error=why, count=count)

    exporter = Exporter(settings.tracing, failed)
    try:
        yield Witness(exporter, settings.tracing.sample, counts=exporter.counts)
    finally:
        exporter.close(LINGER)
