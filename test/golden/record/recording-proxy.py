#!/usr/bin/env python3
"""A hypervisor that writes down what the library and the daemon say.

Given to libguestfs as LIBGUESTFS_HV. On the real launch it puts itself on the
daemon's socket: qemu, which takes this process over, connects to a socket next
to the library's one, and a child carries every message across and appends it
to GOLDEN_RECORD before the other side has seen it.
"""

import json
import os
import signal
import socket
import struct
import sys
import threading

import hypervisor
import wire


class Recorder:
    """The recording; both directions write to it."""

    def __init__(self):
        self._file = hypervisor.record_file()
        self._lock = threading.Lock()

    def add(self, sender, what, data):
        with self._lock:
            self._file.write(json.dumps({"from": sender, what: data.hex()}) + "\n")


def carry(sender, source, target, recorder):
    """Copy everything from one socket to the other, message by message."""
    with source.makefile("rb") as stream:
        try:
            while True:
                size = wire.read_exactly(stream, 4)
                (number,) = struct.unpack(">I", size)
                if number in (wire.LAUNCH_FLAG, wire.CANCEL_FLAG):
                    what, data, raw = "flag", size, size
                elif number == wire.PROGRESS_FLAG:
                    data = size + wire.read_exactly(stream, wire.PROGRESS_SIZE)
                    what, raw = "flag", data
                else:
                    data = wire.read_exactly(stream, number)
                    what, raw = "message", size + data
                recorder.add(sender, what, data)
                target.sendall(raw)
        except (EOFError, OSError):
            pass
    # Neither side has a use for a connection that is gone on the other.
    os._exit(0)


def relay(listener, path):
    """Between the qemu that connects to `listener` and the library at `path`."""
    recorder = Recorder()
    qemu, _ = listener.accept()
    library = socket.socket(socket.AF_UNIX)
    library.connect(path)
    threading.Thread(target=carry, args=("library", library, qemu, recorder), daemon=True).start()
    carry("daemon", qemu, library, recorder)


def start_relay(path):
    """Fork the relay for the library's socket at `path`; the path for qemu."""
    own_path = path + ".r"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(own_path)
    listener.listen(1)
    if os.fork() == 0:
        # The console is qemu's: the library waits for its end.
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        relay(listener, path)
    return own_path


def main():
    arguments = sys.argv[1:]
    found = hypervisor.daemon_socket(arguments)
    if found is not None:
        index, path = found
        arguments[index] = arguments[index].replace(path, start_relay(path))
    hypervisor.run_real_qemu(arguments)


main()
