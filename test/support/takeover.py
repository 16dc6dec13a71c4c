"""Makes system calls in a running process, as an attacker who has taken it over would, with its rights and filters.

    takeover.py PID     standard input is a JSON list of attempts, [what, argument]; standard output gets a JSON list with
                        "done" or an error's name for each. Needs root, and x86-64.

The first thread is stopped, made to execute each system call, and then continues where it was.
"""
import ctypes
import errno
import json
import os
import re
import signal
import socket
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
SINGLESTEP, GETREGS, SETREGS, ATTACH, DETACH = 9, 12, 13, 16, 17
NAMES = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs"
).split()
ALL_THREADS = 0x40000000  # __WALL
RED_ZONE = 128
ROOM = 4096
WORD = (1 << 64) - 1
AT_FDCWD = -100
READ, OPEN, CLOSE, KILL, SOCKET, CONNECT, TRUNCATE, CHMOD, UNLINK = 0, 257, 3, 62, 41, 42, 76, 90, 87
PTRACE, PRLIMIT, VM_READ, PIDFD_OPEN, GETDENTS = 101, 302, 310, 434, 217


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in NAMES]


class Taken:
    def __init__(self, pid):
        self.pid = pid
        self.ptrace(ATTACH)
        os.waitpid(pid, ALL_THREADS)
        self.before = Registers()
        self.ptrace(GETREGS, ctypes.byref(self.before))
        self.memory = open(f"/proc/{pid}/mem", "r+b", buffering=0)
        self.gate = self.find_syscall()
        self.room = (self.before.rsp - RED_ZONE - ROOM) & ~15

    def ptrace(self, request, data=None):
        if libc.ptrace(request, self.pid, None, data) < 0:
            raise OSError(ctypes.get_errno(), f"ptrace {request}")

    def find_syscall(self):
        for line in open(f"/proc/{self.pid}/maps"):
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r-xp .*libc\.so", line)
            if match:
                start, end = (int(one, 16) for one in match.groups())
                self.memory.seek(start)
                return start + self.memory.read(end - start).index(b"\x0f\x05")
        raise RuntimeError("no libc")

    def put(self, data, offset=0):
        self.memory.seek(self.room + offset)
        self.memory.write(data)
        return self.room + offset

    def call(self, number, *arguments):
        registers = Registers.from_buffer_copy(self.before)
        for name, value in zip(["rdi", "rsi", "rdx", "r10", "r8", "r9"], list(arguments) + [0] * (6 - len(arguments))):
            setattr(registers, name, value & WORD)
        registers.rax, registers.orig_rax, registers.rip, registers.rsp = number, WORD, self.gate, self.room
        self.ptrace(SETREGS, ctypes.byref(registers))
        while True:
            self.ptrace(SINGLESTEP)
            status = os.waitpid(self.pid, ALL_THREADS)[1]
            if not os.WIFSTOPPED(status):
                raise RuntimeError(f"it ended: {status}")
            # Other signals can arrive before the step.
            if os.WSTOPSIG(status) == signal.SIGTRAP:
                break
        self.ptrace(GETREGS, ctypes.byref(registers))
        result = ctypes.c_longlong(registers.rax).value
        if -4096 < result < 0:
            raise OSError(-result, "")
        return result

    def release(self):
        self.ptrace(SETREGS, ctypes.byref(self.before))
        self.ptrace(DETACH)


def open_path(taken, path, flags):
    return taken.call(OPEN, AT_FDCWD, taken.put(path.encode() + b"\0"), flags, 0o600)


def close(taken, descriptor):
    taken.call(CLOSE, descriptor)


def read(taken, path):
    descriptor = open_path(taken, path, os.O_RDONLY)
    try:
        taken.call(READ, descriptor, taken.room + 2048, 1)
    finally:
        close(taken, descriptor)


def list_directory(taken, path):
    descriptor = open_path(taken, path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        taken.call(GETDENTS, descriptor, taken.room + 2048, 1024)
    finally:
        close(taken, descriptor)


def connect(taken, family, address):
    descriptor = taken.call(SOCKET, family, socket.SOCK_STREAM, 0)
    try:
        taken.call(CONNECT, descriptor, taken.put(address), len(address))
    finally:
        close(taken, descriptor)


def tcp(taken, address):
    host, _, port = address.rpartition(":")
    where = struct.pack("=H", socket.AF_INET) + struct.pack("!H", int(port)) + socket.inet_aton(host) + bytes(8)
    connect(taken, socket.AF_INET, where)


def datagrams(taken, _argument):
    close(taken, taken.call(SOCKET, socket.AF_INET, socket.SOCK_DGRAM, 0))


def read_memory(taken, pid):
    address = int(open(f"/proc/{pid}/maps").readline().split("-")[0], 16)
    local = taken.put(struct.pack("=QQ", taken.room + 2048, 8))
    remote = taken.put(struct.pack("=QQ", address, 8), 64)
    taken.call(VM_READ, pid, local, 1, remote, 1, 0)


def limit(taken, pid):
    taken.call(PRLIMIT, pid, 7, 0, taken.room + 2048)


def trace(taken, pid):
    taken.call(PTRACE, ATTACH, pid, 0, 0)
    taken.call(PTRACE, DETACH, pid, 0, 0)


ATTEMPTS = {
    "read": read,
    "list": list_directory,
    "write": lambda taken, path: close(taken, open_path(taken, path, os.O_WRONLY)),
    "make": lambda taken, path: close(taken, open_path(taken, path, os.O_WRONLY | os.O_CREAT)),
    "truncate": lambda taken, path: taken.call(TRUNCATE, taken.put(path.encode() + b"\0"), 1),
    "chmod": lambda taken, path: taken.call(CHMOD, taken.put(path.encode() + b"\0"), 0o777),
    "unlink": lambda taken, path: taken.call(UNLINK, taken.put(path.encode() + b"\0")),
    "kill": lambda taken, pid: taken.call(KILL, pid, 0),
    "pidfd": lambda taken, pid: close(taken, taken.call(PIDFD_OPEN, pid, 0)),
    "trace": trace,
    "read memory": read_memory,
    "limit": limit,
    "tcp": tcp,
    "udp": datagrams,
    "unix": lambda taken, path: connect(taken, socket.AF_UNIX, struct.pack("=H", socket.AF_UNIX) + path.encode() + b"\0"),
}


def attempt(taken, what, argument):
    try:
        ATTEMPTS[what](taken, argument)
        return "done"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


attempts = json.load(sys.stdin)
taken = Taken(int(sys.argv[1]))
try:
    print(json.dumps([attempt(taken, *one) for one in attempts]))
finally:
    taken.release()
