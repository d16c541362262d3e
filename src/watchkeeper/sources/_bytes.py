"""Read bytes, compressed or not, and tell a file that ends too early from one that ends.

Everything before a cut is handed out first; only then is `Truncated` raised.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyarrow as pa

from watchkeeper.errors import InputError, Truncated, Unreadable

CHUNK = 1 << 16  # compressed bytes taken at once
PARQUET = b"PAR1"
_GZIP, _BZIP2, _XZ, _ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
_CODECS: dict[bytes, Callable[[], Any]] = {
    _GZIP: lambda: zlib.decompressobj(wbits=31),
    _BZIP2: bz2.BZ2Decompressor,
    _XZ: lzma.LZMADecompressor,
}


class Stream(Protocol):
    """Bytes of one file, decompressed."""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end.

        :raises Truncated: the compressed stream ends too early; all before was handed out.
        """

    def skip(self, count: int) -> int:
        """Move `count` bytes on; return how many there were."""

    def close(self) -> None:
        """Release the file. Safe to call twice."""


def open_bytes(path: Path, name: str) -> tuple[Stream, bytes]:
    """Open a file for reading and return its first bytes; compression is told by them.

    :param name: what errors call the file.
    :raises Unreadable: the system refused.
    """
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise refused(name, error) from error
    try:
        head = file.read(8)
        file.seek(0)
    except OSError as error:
        file.close()
        raise refused(name, error) from error
    if head.startswith(_ZSTD):
        file.close()
        return _Zstd(path, name), head
    for magic, codec in _CODECS.items():
        if head.startswith(magic):
            return _Packed(file, name, codec), head
    return _Plain(file, name), head


def compressed(stream: Stream) -> bool:
    """Return whether the bytes on disk are not those read."""
    return not isinstance(stream, _Plain)


def refused(name: str, error: OSError) -> Unreadable:
    """Return what to raise when the system does not let us read."""
    return Unreadable(
        f"{name}: {error.strerror or error}", hint="check that it exists and who may read it"
    )


def _truncated(name: str, count: int) -> Truncated:
    return Truncated(
        f"{name}: the compressed stream ends too early, after {count} bytes of content",
        hint="what came before was read; fetch the file again for the rest",
    )


def _damaged(name: str, count: int, error: Exception) -> InputError:
    return InputError(
        f"{name}: damaged after {count} bytes of content: {error}",
        hint="what came before was read; fetch the file again for the rest",
    )


class _Plain:
    """An uncompressed file. `read` at the end returns nothing, and more once the file grows."""

    def __init__(self, file: BinaryIO | Any, name: str) -> None:
        self._file, self._name = file, name

    def read(self, size: int) -> bytes:
        parts, left = [], size
        try:
            while left and (part := self._file.read(left)):
                parts.append(part)
                left -= len(part)
        except OSError as error:
            raise refused(self._name, error) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def skip(self, count: int) -> int:
        end = self._file.seek(0, 2)
        return int(self._file.seek(min(count, end)))

    def close(self) -> None:
        self._file.close()


class _Packed:
    """gzip, bzip2 or xz, one or more streams behind each other."""

    def __init__(self, file: Any, name: str, codec: Callable[[], Any]) -> None:
        self._file, self._name, self._codec = file, name, codec
        self._engine: Any = codec()
        self._begun = False  # the present stream has had some bytes
        self._rest = b""  # compressed, not yet given to the engine
        self._over = b""  # content beyond what was asked for
        self._count = 0
        self._failure: InputError | None = None

    def read(self, size: int) -> bytes:
        parts, got = [self._over], len(self._over)
        while got < size and self._failure is None:
            part = self._more()
            if part is None:
                break
            parts.append(part)
            got += len(part)
            self._count += len(part)
        if not got and self._failure is not None:
            raise self._failure
        content = b"".join(parts)
        self._over = content[size:]
        return content[:size]

    def skip(self, count: int) -> int:
        return _skip_by_reading(self, count)

    def close(self) -> None:
        self._file.close()

    def _more(self) -> bytes | None:
        """Return some content, perhaps none yet; None at the end."""
        data = self._rest or self._take()
        self._rest = b""
        if self._engine.eof:
            data = data.lstrip(b"\x00")  # tape blocks are padded with zeros
            if not data:
                return None
            self._engine, self._begun = self._codec(), False
        if not data:
            self._failure = _truncated(self._name, self._count)
            return b""
        self._begun = True
        try:
            found: bytes = self._engine.decompress(data)
        except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
            self._failure = _damaged(self._name, self._count, error)
            return b""
        if self._engine.eof:
            self._rest = self._engine.unused_data
        return found

    def _take(self) -> bytes:
        try:
            return bytes(self._file.read(CHUNK) or b"")
        except OSError as error:
            raise refused(self._name, error) from error


class _Zstd:
    """Zstandard, read by Arrow. Arrow drops what it holds when it meets a cut, so the last bytes
    before a cut are fetched once more, one by one.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._stream: Any = self._fresh()
        self._count = 0
        self._failure: InputError | None = None

    def read(self, size: int) -> bytes:
        parts: list[bytes] = []
        got = 0
        while got < size and self._failure is None:
            try:
                part = self._stream.read(min(CHUNK, size - got))
            except OSError as error:
                part = self._tail()
                cut = "runcated" in str(error)
                count = self._count + len(part)
                name = self._name
                self._failure = _truncated(name, count) if cut else _damaged(name, count, error)
            if not part and self._failure is None:
                break
            parts.append(part)
            got += len(part)
            self._count += len(part)
        if not got and self._failure is not None:
            raise self._failure
        return b"".join(parts)

    def skip(self, count: int) -> int:
        return _skip_by_reading(self, count)

    def close(self) -> None:
        self._stream.close()

    def _fresh(self) -> Any:
        try:
            return pa.CompressedInputStream(pa.OSFile(str(self._path)), "zstd")
        except OSError as error:
            raise refused(self._name, error) from error

    def _tail(self) -> bytes:
        self._stream.close()
        self._stream = self._fresh()
        left, tail = self._count, bytearray()
        try:
            while left:
                left -= len(self._stream.read(min(CHUNK, left)))
            while one := self._stream.read(1):
                tail += one
        except OSError:
            pass  # the cut itself, met again
        return bytes(tail)


def _skip_by_reading(stream: Stream, count: int) -> int:
    left = count
    while left and (part := stream.read(min(1 << 22, left))):
        left -= len(part)
    return count - left
