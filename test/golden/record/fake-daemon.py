#!/usr/bin/env python3
"""A hypervisor that boots nothing and answers as if it were the daemon.

Given to libguestfs as LIBGUESTFS_HV. On the real launch it connects to the
daemon's socket, says that the appliance is up, writes every request and every
uploaded chunk to GOLDEN_RECORD, and answers each request with an error, so
that the caller can go on to the next one. The procedures that upload a file
are named in GOLDEN_FILEIN, their numbers separated by commas.
"""

import json
import os
import signal
import socket
import sys

import hypervisor
import wire


def serve(path):
    """Play the daemon on the socket at `path` until the library hangs up."""
    uploads = {int(number) for number in os.environ.get("GOLDEN_FILEIN", "").split(",") if number}
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connection.sendall(wire.word(wire.LAUNCH_FLAG))
    with connection.makefile("rb") as stream, hypervisor.record_file() as record:
        while True:
            request = wire.read_message(stream)
            chunks = []
            if wire.read_header(request)["proc"] in uploads:
                chunks = read_upload(stream)
            line = {"request": request.hex(), "chunks": [chunk.hex() for chunk in chunks]}
            record.write(json.dumps(line) + "\n")
            connection.sendall(wire.frame(wire.error_reply(request, "ENOTSUP", "recorded")))


def read_upload(stream):
    """All chunks of one uploaded file, the one that ends or cancels it included."""
    chunks = []
    while True:
        chunks.append(wire.read_message(stream))
        cancelled, length = wire.chunk_parts(chunks[-1])
        if cancelled or not length:
            return chunks


def main():
    arguments = sys.argv[1:]
    found = hypervisor.daemon_socket(arguments)
    if found is None:
        hypervisor.run_real_qemu(arguments)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        serve(found[1])
    except (EOFError, ConnectionError):
        pass


main()
