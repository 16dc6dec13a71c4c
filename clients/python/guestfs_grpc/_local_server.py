"""A server on this machine, for programs that name none: one for all handles of a process."""
import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from ._errors import GuestfsError

START_SECONDS = 60
_PERMISSIONS = ("remote-drives", "block-devices", "backing-files", "network", "host-actions", "custom-qemu")
"""What programs that use the library may do anyway, since it runs with their own rights."""


def _main_program():
    """The server's program, where the project is installed; None elsewhere."""
    home = os.environ.get("GUESTFS_GRPC_HOME")
    # A checkout has this package in clients/python/guestfs_grpc.
    root = Path(home) if home else Path(__file__).resolve().parents[3]
    program = root / "dist" / "src" / "cli" / "main.js"
    if home and not program.is_file():
        raise ValueError(f"GUESTFS_GRPC_HOME: {home}: there is no server in it; \"npm run setup\" builds it")
    return program if program.is_file() else None


class LocalServer:
    """The server of this process."""

    _lock = threading.Lock()
    _running = None

    def __init__(self, program, node):
        self._directory = tempfile.mkdtemp(prefix="guestfs-grpc-client-")
        self.address = f"unix:{self._directory}/socket"
        log = os.path.join(self._directory, "log")
        command = [node, str(program), "serve", "--listen", self.address, "--image-root", "/", "--idle-timeout", "0",
                   "--debug-service"]
        for permission in _PERMISSIONS:
            command += ["--allow", permission]
        with open(log, "wb") as output:
            # The keeper ends the server when this process has ended, however that was.
            self._keeper = subprocess.Popen([sys.executable, "-I", str(Path(__file__).with_name("_keeper.py")), *command],
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output,
                                            start_new_session=True)
        if not self._wait():
            with open(log, encoding="utf-8", errors="replace") as file:
                end = file.read()[-2000:]
            self.stop()
            raise GuestfsError(f"the local guestfs-grpc server did not start:\n{end}")

    def _wait(self):
        """Reads what the server prints until it listens."""
        timer = threading.Timer(START_SECONDS, self._keeper.kill)
        timer.start()
        try:
            for line in self._keeper.stdout:
                if line.startswith(b"listening on"):
                    threading.Thread(target=self._keeper.stdout.read, daemon=True).start()
                    return True
            return False
        finally:
            timer.cancel()

    def stop(self):
        """Ends the server."""
        self._keeper.stdin.close()
        self._keeper.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    @classmethod
    def get(cls):
        """Starts the server, if it does not run yet."""
        with cls._lock:
            if cls._running is None:
                program, node = _main_program(), shutil.which("node")
                if program is None or node is None:
                    lacking = "the project is not installed here" if program is None else "there is no node"
                    raise GuestfsError(
                        f"no server: name one with GuestFS(server=...) or in GUESTFS_GRPC_SERVER, such as "
                        f"127.0.0.1:50051; a local one cannot be started, because {lacking}")
                cls._running = cls(program, node)
                atexit.register(cls._stop_running)
            return cls._running

    @classmethod
    def _stop_running(cls):
        with cls._lock:
            if cls._running is not None:
                cls._running.stop()
                cls._running = None
