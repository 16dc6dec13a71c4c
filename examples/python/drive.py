"""From an empty disk to a file on it and back.

    python3 drive.py [ADDRESS]

It uses the client in clients/python, which has the interface of libguestfs's own binding.
"""
import sys

import guestfs_grpc as guestfs

MIB = 1 << 20
CONTENT = b"".join(bytes([number]) * MIB for number in range(1, 9))


def pieces():
    """Read as fast as the service accepts it."""
    for sent in range(0, len(CONTENT), MIB):
        yield CONTENT[sent:sent + MIB]
        print(f"sent {sent // MIB + 1} of 8 MiB", flush=True)


address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"
with guestfs.GuestFS(python_return_dict=True, server=address) as g:
    g.add_drive_scratch(64 * MIB)
    g.launch()
    print("launched")
    g.part_disk("/dev/sda", "gpt")
    g.mkfs("ext4", "/dev/sda1")
    g.mount("/dev/sda1", "/")

    g.upload(pieces(), "/file")
    received = bytearray()
    g.download("/file", received.extend)
    if received != CONTENT:
        sys.exit("the file has changed")
    print("received the same 8 MiB")

    try:
        g.cat("/missing")
    except guestfs.GuestfsError as error:
        print(f"cat /missing: {error.reason}")

    try:
        g.download("/dev/sda", lambda piece: g.user_cancel())
    except guestfs.GuestfsError as error:
        if error.reason not in ("EINTR", "CANCELLED"):
            raise
        print("cancelled a download")
print("deleted")
