"""Memory files (memfd_create(2)), which Node.js cannot make: one command each.

    create SIZE   makes an empty one
    load          makes one with the contents of descriptor 4, sealed
    seal          seals the descriptors from 3 on
    keep          copies descriptor 3 to descriptor 4, and prints a digest
    pack          the same, without the zeros, for places that do not keep holes
    unpack        as "load", from what "pack" has written

"create", "load" and "unpack" say on descriptor 3 which descriptor of theirs it is, all but the first with a
digest, and live until that channel is closed: until then the file can be opened through /proc.

Blocks of zeros are neither copied nor digested: the memory of a guest is mostly such.
"""
import errno
import fcntl
import hashlib
import os
import struct
import sys

CHANNEL = 3
SOURCE = 4
BLOCK = 1 << 16
ZEROS = bytes(BLOCK)
# Starts a packed file. The size of the contents follows; then, for each block, its position, its length and itself.
MAGIC = b"memory1\n"
SIZE = struct.Struct(">Q")
BLOCK_HEADER = struct.Struct(">QI")
# F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE (linux/fcntl.h).
ADD_SEALS = 1033
ALL_SEALS = 0xF


def blocks(file):
    """The blocks that are not all zeros, with their offsets."""
    size = os.fstat(file).st_size
    position = 0
    while position < size:
        try:
            position = os.lseek(file, position, os.SEEK_DATA) // BLOCK * BLOCK
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        block = os.pread(file, min(BLOCK, size - position), position)
        if block != ZEROS[: len(block)]:
            yield position, block
        position += BLOCK


def write_all(file, data, position):
    while data:
        written = os.pwrite(file, data, position)
        data = data[written:]
        position += written


def copy(source, target):
    """Copies, and returns a digest of size and contents."""
    size = os.fstat(source).st_size
    digest = hashlib.sha256(size.to_bytes(8, "big"))
    os.ftruncate(target, size)
    for position, block in blocks(source):
        digest.update(position.to_bytes(8, "big"))
        digest.update(block)
        write_all(target, block, position)
    return digest.hexdigest()


def pack(source, target):
    """Writes the blocks one after another, and returns the digest of `copy`."""
    size = os.fstat(source).st_size
    digest = hashlib.sha256(size.to_bytes(8, "big"))
    with open(target, "wb", closefd=False) as packed:
        packed.write(MAGIC + SIZE.pack(size))
        for position, block in blocks(source):
            digest.update(position.to_bytes(8, "big"))
            digest.update(block)
            packed.write(BLOCK_HEADER.pack(position, len(block)))
            packed.write(block)
    return digest.hexdigest()


def unpack(source, target):
    """The opposite; a damaged file is noticed by its digest at the latest."""
    with open(source, "rb", closefd=False) as packed:
        if packed.read(len(MAGIC)) != MAGIC:
            sys.exit("not a packed memory file")
        (size,) = SIZE.unpack(whole(packed, SIZE.size))
        digest = hashlib.sha256(size.to_bytes(8, "big"))
        os.ftruncate(target, size)
        while header := packed.read(BLOCK_HEADER.size):
            if len(header) < BLOCK_HEADER.size:
                sys.exit("the packed memory file ends too early")
            position, length = BLOCK_HEADER.unpack(header)
            if length > BLOCK or position + length > size:
                sys.exit("the packed memory file is damaged")
            block = whole(packed, length)
            digest.update(position.to_bytes(8, "big"))
            digest.update(block)
            write_all(target, block, position)
    return digest.hexdigest()


def whole(file, length):
    data = file.read(length)
    if len(data) < length:
        sys.exit("the packed memory file ends too early")
    return data


def seal(file):
    fcntl.fcntl(file, ADD_SEALS, ALL_SEALS)


def make():
    return os.memfd_create("guestfs-grpc", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)


def show(*words):
    """Writes to the channel, and waits until the other side closes it."""
    os.write(CHANNEL, (" ".join(map(str, words)) + "\n").encode())
    while os.read(CHANNEL, 1):
        pass


def main(command, *arguments):
    if command == "create":
        file = make()
        os.ftruncate(file, int(arguments[0]))
        show(file)
    elif command in ("load", "unpack"):
        file = make()
        digest = {"load": copy, "unpack": unpack}[command](SOURCE, file)
        seal(file)
        show(file, digest)
    elif command == "seal":
        for file in range(3, 3 + int(arguments[0])):
            seal(file)
    elif command in ("keep", "pack"):
        digest = {"keep": copy, "pack": pack}[command](3, 4)
        os.fsync(4)
        print(digest)
    else:
        sys.exit(f"no such command: {command}")


main(*sys.argv[1:])
