"""What the two hypervisor wrappers share.

libguestfs runs its hypervisor several times: to ask what it can do, and once
to start the appliance. Only the last names the daemon's socket; all others go
to the real qemu unchanged.
"""

import os
import sys

REAL_QEMU = os.environ.get("GOLDEN_QEMU", "qemu-system-x86_64")


def daemon_socket(arguments):
    """Index and path of the daemon's socket in qemu's arguments, or None."""
    for index, argument in enumerate(arguments):
        if argument.startswith("socket,") and arguments[index - 1] == "-chardev":
            options = dict(part.split("=", 1) for part in argument.split(",") if "=" in part)
            if options.get("id") == "channel0":
                return index, options["path"]
    return None


def run_real_qemu(arguments):
    """Become the real qemu; does not return."""
    os.execvp(REAL_QEMU, [REAL_QEMU, *arguments])


def record_file():
    """The file that recordings are appended to, one JSON object a line."""
    path = os.environ.get("GOLDEN_RECORD")
    if not path:
        sys.exit("GOLDEN_RECORD is not set")
    return open(path, "a", buffering=1, encoding="ascii")
