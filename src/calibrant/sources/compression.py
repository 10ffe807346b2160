"""Compressed files as streams of bytes: gzip and zstd. A file that was cut off is an error, never a shorter one."""

import io
import zlib
from collections.abc import Callable
from typing import IO, Any, cast

import zstandard

CHUNK = 1 << 14  # compressed bytes at a time: what they unfold to is held in memory
BUFFER = 1 << 20
LARGEST_WINDOW = 1 << 31  # zstd --long=31, in which large crawls are published
FAULTS = (EOFError, OSError, zlib.error, zstandard.ZstdError)  # what reading a damaged file raises


def _gzip() -> Any:
    return zlib.decompressobj(wbits=31)  # with gzip's header and checksum


def _zstd() -> Any:
    return zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).decompressobj()


COMPRESSIONS: dict[str, Callable[[], Any]] = {".gz": _gzip, ".zst": _zstd}


def uncompressed_name(name: str) -> str:
    """`corpus.jsonl.gz` -> `corpus.jsonl`; other names as they are."""
    return next((name[: -len(suffix)] for suffix in COMPRESSIONS if name.lower().endswith(suffix)), name)


def decompressed(stream: IO[bytes], name: str) -> IO[bytes]:
    """The bytes of `stream`, unfolded where the end of `name` says that they are compressed.

    Several frames one after the other are one file, as both command lines have it. Reading raises one of `FAULTS`
    where the file is damaged, or ends inside a frame.
    """
    for suffix, frame in COMPRESSIONS.items():
        if name.lower().endswith(suffix):
            return cast(IO[bytes], io.BufferedReader(_Frames(stream, frame), BUFFER))
    return stream


class _Frames(io.RawIOBase):
    """The content of compressed frames that follow one another."""

    def __init__(self, source: IO[bytes], frame: Callable[[], Any]) -> None:
        super().__init__()
        self._source, self._new_frame = source, frame
        self._frame: Any = None  # the one that is open
        self._whole = 0  # frames that were read to their end
        self._packed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            packed = self._packed or self._source.read(CHUNK)
            if not packed:
                if self._frame is not None or not self._whole:
                    raise EOFError("it ends inside a compressed frame" if self._frame is not None else "it is empty")
                return 0
            self._unpack(packed)
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _unpack(self, packed: bytes) -> None:
        self._packed = b""
        if self._frame is None:
            if self._whole and not (packed := packed.lstrip(b"\0")):  # tapes and tar pad files with zeros
                return
            self._frame = self._new_frame()
        self._ready = memoryview(self._frame.decompress(packed))
        if self._frame.eof:
            self._packed, self._frame = self._frame.unused_data, None
            self._whole += 1
