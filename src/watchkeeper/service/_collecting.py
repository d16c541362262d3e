"""What a running house keeps of one source."""

from __future__ import annotations

import threading

from watchkeeper.sources import Reader, Source


class Collecting:
    """One source, its reader, and the thread that polls it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.reader: Reader | None = None
        self.stop = threading.Event()
        self.thread: threading.Thread | None = None
