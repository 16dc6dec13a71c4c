"""Local files that are sent and received: by name as in libguestfs, or as objects."""
import os
import stat
import sys
from typing import Any, BinaryIO, Callable, Iterable, Union

from ._errors import from_os_error

Source = Union[str, "os.PathLike[str]", BinaryIO, Iterable[bytes]]
"""A file name (`-` is standard input), a binary file object, or an iterable of bytes."""
Destination = Union[str, "os.PathLike[str]", BinaryIO, Callable[[bytes], Any]]
"""A file name (`-` is standard output), a binary file object, or a function that takes each piece."""

PIECE = 512 * 1024
"""Bytes in a message; the service accepts 1 MiB."""


def is_name(file):
    """Whether a file is given by its name."""
    return isinstance(file, (str, os.PathLike))


def _check_piece(action, piece):
    if not isinstance(piece, (bytes, bytearray, memoryview)):
        raise TypeError(f"{action}() sends bytes, not {type(piece).__name__}")


class SourceFile:
    """What an upload sends: `size` if it is known, and `pieces()`."""

    def __init__(self, action, source):
        self._action = action
        self._source = source
        self._opened = None
        self.name = None
        self.size = None
        if is_name(source):
            self._open(os.fspath(source))
        elif not (hasattr(source, "read") or hasattr(source, "__iter__")) or isinstance(source, (bytes, bytearray)):
            raise TypeError(f"{action}() sends a file name, a binary file object or an iterable of bytes, "
                            f"not {type(source).__name__}")

    def _open(self, name):
        self.name = name
        if name == "-":
            self._source = sys.stdin.buffer
            return
        try:
            self._source = self._opened = open(name, "rb", buffering=0)
            found = os.fstat(self._opened.fileno())
        except OSError as error:
            raise from_os_error(error, self._action, name) from error
        if stat.S_ISREG(found.st_mode):
            self.size = found.st_size

    def pieces(self):
        """The content, in pieces that the service accepts."""
        for piece in self._raw():
            _check_piece(self._action, piece)
            for start in range(0, len(piece), PIECE):
                yield bytes(piece[start:start + PIECE])

    def _raw(self):
        if not hasattr(self._source, "read"):
            yield from self._source
            return
        while True:
            try:
                piece = self._source.read(PIECE)
            except OSError as error:
                raise from_os_error(error, self._action, self.name or "the source") from error
            if not piece:
                return
            yield piece

    def close(self):
        """Closes what it has opened."""
        if self._opened is not None:
            self._opened.close()


class DestinationFile:
    """Where a download goes. A file is created when the service has accepted the call, as libguestfs does."""

    def __init__(self, action, destination):
        self._action = action
        self._opened = None
        self._write = None
        self.name = None
        if is_name(destination):
            self.name = os.fspath(destination)
            if "\0" in self.name:
                raise ValueError(f"{action}() argument: embedded null character")
        elif hasattr(destination, "write"):
            self._write = destination.write
        elif callable(destination):
            self._write = destination
        else:
            raise TypeError(f"{action}() receives into a file name, a binary file object or a function, "
                            f"not {type(destination).__name__}")

    def begin(self):
        """Opens the file."""
        if self._write is not None:
            return
        if self.name == "-":
            self._write = sys.stdout.buffer.write
            return
        try:
            self._opened = open(self.name, "wb", buffering=0)
        except OSError as error:
            raise from_os_error(error, self._action, self.name) from error
        self._write = self._write_all

    def _write_all(self, piece):
        rest = memoryview(piece)
        while rest:
            rest = rest[self._opened.write(rest):]

    def write(self, piece):
        """Takes one piece."""
        self.begin()
        try:
            self._write(piece)
        except OSError as error:
            raise from_os_error(error, self._action, self.name or "the destination") from error

    def close(self):
        """Closes what it has opened."""
        if self._opened is not None:
            self._opened.close()
        elif self.name == "-":
            sys.stdout.buffer.flush()
