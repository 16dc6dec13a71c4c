"""Tries what an attacker who has taken over a process would try, with its user, namespaces and root.

    intruder.py PID     standard input is a JSON list of attempts, [what, argument]; standard output
                        gets a JSON list with "done" or an error's name for each
"""
import ctypes
import errno
import json
import os
import re
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS = 38


def become(pid):
    status = open(f"/proc/{pid}/status").read()
    uid, gid = (int(re.search(rf"^{name}:\s+(\d+)", status, re.M)[1]) for name in ("Uid", "Gid"))
    own = os.stat("/proc/self/ns/user").st_ino
    names = ["user", "ipc", "uts", "net", "pid", "mnt"]
    if os.stat(f"/proc/{pid}/ns/user").st_ino == own:
        names.remove("user")
    root = os.open(f"/proc/{pid}/root", os.O_RDONLY)
    spaces = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in names]
    os.setgroups([])
    for space in spaces:
        if libc.setns(space, 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        os.close(space)
    os.fchdir(root)
    os.chroot(".")
    os.chdir("/")
    os.close(root)
    child = os.fork()
    if child:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def connect(family, address):
    with socket.socket(family) as attempt:
        attempt.settimeout(3)
        attempt.connect(address)


def write_memory(_argument):
    """Writes to the files in memory that the processes here have open."""
    last = None
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except PermissionError:
            continue
        for name in names:
            path = f"/proc/{pid}/fd/{name}"
            try:
                if "memfd:" not in os.readlink(path):
                    continue
                with open(path, "r+b", buffering=0) as file:
                    file.write(b"x")
                return
            except OSError as error:
                last = error
    if last:
        raise last


ATTEMPTS = {
    "read": lambda path: open(path, "rb").read(1),
    "list": os.listdir,
    "write": lambda path: open(path, "ab").close(),
    "kill": lambda pid: os.kill(pid, 0),
    "tcp": lambda port: connect(socket.AF_INET, ("127.0.0.1", port)),
    "network": lambda address: connect(socket.AF_INET, (address, 53)),
    "unix": lambda path: connect(socket.AF_UNIX, path),
    # By how many there are: numbers of processes go up with every thread.
    "processes": lambda expected: [pid for pid in os.listdir("/proc") if pid.isdigit()][expected],
    "write memory": write_memory,
}


def attempt(what, argument):
    try:
        ATTEMPTS[what](argument)
        return "done"
    except OSError as error:
        return errno.errorcode.get(error.errno, "timeout" if isinstance(error, TimeoutError) else str(error))
    except IndexError:
        return "none"


attempts = json.load(sys.stdin)
become(int(sys.argv[1]))
print(json.dumps([attempt(*one) for one in attempts]))
