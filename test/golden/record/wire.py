"""The few facts of the libguestfs wire protocol that the recorders need.

Every message is a 4-byte big-endian length word and that many bytes of XDR.
A request or reply starts with a 48-byte header; a file chunk is a cancel word
followed by opaque data, and a chunk without data ends the file.
"""

import struct

PROGRAM = 0x2000F5F5
VERSION = 4
CALL, REPLY = 0, 1
OK, ERROR = 0, 1

LAUNCH_FLAG = 0xF5F55FF5
CANCEL_FLAG = 0xFFFFEEEE
PROGRESS_FLAG = 0xFFFF5555
PROGRESS_SIZE = 24

HEADER = struct.Struct(">IIIIIQQI")
HEADER_FIELDS = ("prog", "vers", "proc", "direction", "serial", "progress_hint", "optargs_bitmask", "status")


def word(value):
    """One big-endian 32-bit word."""
    return struct.pack(">I", value)


def frame(message):
    """The message as it is on the wire: length word first."""
    return word(len(message)) + message


def string(text):
    """An XDR string: length, bytes, zero padding to a multiple of four."""
    data = text.encode()
    return word(len(data)) + data + bytes(-len(data) % 4)


def read_header(message):
    """The header of a request or reply as a dictionary."""
    return dict(zip(HEADER_FIELDS, HEADER.unpack_from(message)))


def read_exactly(stream, size):
    """`size` bytes from a file object; EOFError when it ends before that."""
    data = stream.read(size)
    if data is None or len(data) < size:
        raise EOFError
    return data


def read_message(stream):
    """One framed message, without its length word."""
    (size,) = struct.unpack(">I", read_exactly(stream, 4))
    return read_exactly(stream, size)


def chunk_parts(chunk):
    """(cancelled, data length) of a file chunk."""
    return struct.unpack_from(">II", chunk)


def error_reply(request, errno, text):
    """The reply that fails `request`."""
    header = read_header(request)
    return HEADER.pack(PROGRAM, VERSION, header["proc"], REPLY, header["serial"], 0, 0, ERROR) + string(errno) + string(text)
