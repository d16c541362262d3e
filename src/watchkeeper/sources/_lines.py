"""Cut a text file into blocks of whole lines and keep count of bytes and lines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from watchkeeper.errors import InputError
from watchkeeper.sources._bytes import Stream

LINE_MAX = 1 << 24
_PIECE = 1 << 17
BOM = b"\xef\xbb\xbf"


class Block(NamedTuple):
    """Whole lines of a file.

    :param start: bytes (decompressed) before it. :param line: the number of its first line, from 1.
    :param rows: how many lines.
    """

    data: bytes
    start: int
    line: int
    rows: int

    def ends(self) -> npt.NDArray[np.int64]:
        """Return the position behind the last byte of each line."""
        ends = np.flatnonzero(np.frombuffer(self.data, np.uint8) == 10) + 1
        if self.data and not self.data.endswith(b"\n"):
            ends = np.append(ends, len(self.data))
        return ends

    def cut(self, ends: npt.NDArray[np.int64], first: int, stop: int) -> Block:
        """Return the lines first..stop-1 as a block of their own."""
        begin = int(ends[first - 1]) if first else 0
        end = int(ends[stop - 1])
        return Block(self.data[begin:end], self.start + begin, self.line + first, stop - first)


class Lines:
    """The lines of one stream from a position on.

    :param waits: a last line without a line feed is not finished yet; keep it back.
    """

    def __init__(self, stream: Stream, name: str, *, waits: bool = False) -> None:
        self._stream, self._name, self.waits = stream, name, waits
        self._carry = b""
        self.at, self.line = 0, 1
        self._ended: InputError | None = None

    def go_to(self, at: int, line: int) -> None:
        """Move on to where an earlier reader stood.

        :raises InputError: the file is shorter now.
        """
        skipped = self._stream.skip(at)
        if skipped < at:
            raise InputError(
                f"{self._name}: shorter than when it was last read ({skipped} < {at} bytes)",
                hint="it was replaced; give the new file another name, or start a new journal",
            )
        self.at, self.line = at, line

    def block(self, size: int) -> Block | None:
        """Return about `size` bytes of whole lines; None when there are none (yet).

        :raises InputError: the stream is damaged; all whole lines before were handed out.
        """
        data = self._fill(size)
        cut = data.rfind(b"\n") + 1
        while not cut and len(data) >= size and len(data) < LINE_MAX:
            size *= 2
            data = self._fill(size)
            cut = data.rfind(b"\n") + 1
        if not cut:
            if len(data) >= LINE_MAX:
                raise InputError(
                    f"{self._name}:{self.line}: a line of more than {LINE_MAX} bytes",
                    hint="this is no text table; check the file",
                )
            if self._ended is not None:
                raise self._ended
            if self.waits or not data:
                return None
            cut = len(data)
        elif len(data) < size and not self.waits and self._ended is None:
            cut = len(data)  # the end: a last line may lack its line feed
        lines = data[:cut] if cut < len(data) else data
        feeds = _feeds(lines)
        block = Block(lines, self.at, self.line, feeds + (not lines.endswith(b"\n")))
        self._carry = data[cut:]
        self.at += cut
        self.line += feeds
        return block

    def _fill(self, size: int) -> bytes:
        data = self._carry
        if len(data) < size and self._ended is None:
            wanted = size - len(data)
            try:
                more = self._stream.read(wanted)
                data = data + more if data else more
                if len(more) < wanted:  # the next read tells a cut from the end
                    data += self._stream.read(1)
            except InputError as error:
                self._ended = error
        self._carry = data
        return data

    def close(self) -> None:
        """Release the stream."""
        self._stream.close()


def _feeds(data: bytes) -> int:
    """Count line feeds, in pieces that stay in the processor's cache."""
    view = np.frombuffer(data, np.uint8)
    return sum(
        int(np.count_nonzero(view[at : at + _PIECE] == 10)) for at in range(0, len(view), _PIECE)
    )
