"""Gives up rights with Landlock and seccomp, and executes the program.

    confine.py [read=PATH | write=PATH | device=PATH | attributes= | network= | unix=]... -- PROGRAM [ARGUMENT]...

Where no namespaces can be made, these are all rights that a jail would take away: the kernel lets every process give up
rights for good, without root. In a jail, they are those that its descriptors give: to open a file once more and for
more than it was opened for, and to leave a directory for the one above.

The program may still open the paths given here, and reopen the descriptors that it has; with network=, use the network;
with unix=, make Unix sockets; with attributes=, change modes, times and extended attributes of files, and the content of
directories that it has as descriptors. Seccomp refuses all that would reach another process, or a file in a way that
Landlock does not control. Needs no_new_privs.
"""
import ctypes
import errno
import fcntl
import os
import stat
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION_FLAG = 1
PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_SYM = 16, 32, 128, 256, 512, 1024, 4096
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
# Rights that apply to files; the others apply to directories only.
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
READ = EXECUTE | READ_FILE | READ_DIR
CHANGE = (
    WRITE_FILE | READ_FILE | READ_DIR | REMOVE_DIR | REMOVE_FILE
    | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM | REFER | TRUNCATE
)
DEVICE = READ_FILE | WRITE_FILE | IOCTL_DEV
TCP = 3  # bind, and connect
SCOPES = 3  # abstract sockets, and signals

# Files that the /proc of a jail would have as well.
PROC = ["/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems", "/proc/sys"]

# System calls by their numbers: x86-64, and arm64.
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
OTHER_PROCESSES = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274),
    "unshare": (272, 97), "setns": (308, 268), "perf_event_open": (298, 241), "bpf": (321, 280),
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190), "semop": (65, 193),
    "semctl": (66, 191), "semtimedop": (220, 192), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188),
    "msgctl": (71, 187), "mq_open": (240, 180), "mq_unlink": (241, 181),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "userfaultfd": (323, 282), "syslog": (103, 116),
}
UNSEEN_FILES = {
    "truncate": (76, 45), "inotify_add_watch": (254, 27), "fanotify_mark": (301, 263), "open_by_handle_at": (304, 265),
    # It makes system calls that no filter sees.
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "open_tree_attr": (467, 467),
    "quotactl": (179, 60), "quotactl_fd": (443, 443),
}
# Their arguments are in memory, where a filter does not see them. The C library does without them.
UNCHECKED = {"clone3": (435, 435), "openat2": (437, 437)}
ATTRIBUTES = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
}
SOCKET = {"socket": (41, 198)}
# The first argument of these is the process that they act on.
ON_ITSELF = {"kill": (62, 129), "tgkill": (234, 131), "prlimit64": (302, 261), "sched_setaffinity": (203, 122)}
# With these, a file can be made to send signals to any process, or others be kept from opening it.
FCNTL, F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY = (72, 25), 8, 10, 15, 1024, 1026
IOCTL, FIOSETOWN, SIOCSPGRP = (16, 29), 0x8901, 0x8902
# Attributes of files, for which a descriptor that only reads is enough; the last one makes a file read-only for good.
SETFLAGS, SETFLAGS_32, FSSETXATTR, SETVERSION, ENABLE_VERITY = 0x40086602, 0x40046602, 0x401C5820, 0x40087602, 0x40806685
# Neither reading nor writing (3) needs no right, and truncating none before ABI 3.
OPEN, OPENAT, ACCESS_MODE, TRUNCATING = (2, None), (257, 56), 3, 0o1000
CLONE, NEW_NAMESPACES = (56, 220), 0x7E020000
INTERNET = [2, 10, 16]  # AF_INET, AF_INET6, AF_NETLINK: not AF_UNIX, which reaches this host's services
UNIX = [1]  # AF_UNIX
# A pair of datagram sockets can send to any other one; of these kinds, each end only ever has the other.
SOCKETPAIR, KIND, CONNECTED = (53, 199), 15, [1, 5]  # SOCK_STREAM, SOCK_SEQPACKET

LOAD, AND, IF_EQUAL, IF_AT_LEAST, RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
ALLOW, REFUSE, MISSING, KILL = 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38, 0x80000000  # EPERM, ENOSYS
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
X32 = 0x40000000


def checked(what, result):
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def call(number, *arguments):
    return libc.syscall(number, *(ctypes.c_long(one) if isinstance(one, int) else one for one in arguments))


class Rules:
    def __init__(self, network):
        abi = checked("Landlock", call(CREATE_RULESET, None, 0, VERSION_FLAG))
        self.handled = (1 << (13 + (abi >= 2) + (abi >= 3) + (abi >= 5))) - 1
        fields = [self.handled]
        if abi >= 4:
            fields.append(0 if network else TCP)
        if abi >= 6:
            fields.append(SCOPES)
        attributes = struct.pack(f"={len(fields)}Q", *fields)
        self.ruleset = checked("Landlock", call(CREATE_RULESET, attributes, len(attributes), 0))

    def allow(self, descriptor, rights):
        """Files without a path, such as those in memory, need no rule."""
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= OF_FILES
        beneath = struct.pack("=Qi", rights & self.handled, descriptor)
        if call(ADD_RULE, self.ruleset, PATH_BENEATH, beneath, 0) < 0 and ctypes.get_errno() != errno.EBADFD:
            checked("Landlock", -1)

    def allow_path(self, path, rights):
        try:
            descriptor = os.open(path, os.O_PATH)
        except FileNotFoundError:
            return
        self.allow(descriptor, rights)
        os.close(descriptor)

    def restrict(self):
        checked("Landlock", call(RESTRICT_SELF, self.ruleset, 0))
        os.close(self.ruleset)


def allow_descriptors(rules, of_directories, reopened):
    """
    No more files than have to be opened again: the kernel keeps those that a rule names for a while after the last
    process that it confines, and with them the space of a disk that has no name any more.
    """
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError:  # of the listing itself
            continue
        if descriptor > 2 and stat.S_ISDIR(mode):
            rules.allow(descriptor, of_directories)
        if descriptor not in reopened:
            continue
        access = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        reading = 0 if access == os.O_WRONLY else READ_FILE
        rules.allow(descriptor, reading | IOCTL_DEV | (0 if access == os.O_RDONLY else WRITE_FILE | TRUNCATE))


def filter_calls(families, attributes):
    machine = MACHINES.get(os.uname().machine)
    if machine is None:
        raise OSError(0, f"the system calls of {os.uname().machine} are not known")
    column, architecture = machine
    program = [
        (LOAD, 0, 0, ARCHITECTURE), (IF_EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER), (IF_AT_LEAST, 0, 1, X32), (RETURN, 0, 0, REFUSE),
    ]
    refused = {**OTHER_PROCESSES, **UNSEEN_FILES, **({} if attributes else ATTRIBUTES), **({} if families else SOCKET)}
    for numbers in refused.values():
        if numbers[column] is not None:
            program += [(IF_EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, REFUSE)]
    for numbers in UNCHECKED.values():
        program += [(IF_EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, MISSING)]

    def by_argument(number, argument, values, if_equal, otherwise, mask=0xFFFFFFFF):
        body = [(LOAD, 0, 0, ARGUMENTS + 8 * argument), (AND, 0, 0, mask)]
        for value in values:
            body += [(IF_EQUAL, 0, 1, value), (RETURN, 0, 0, if_equal)]
        body.append((RETURN, 0, 0, otherwise))
        program.append((IF_EQUAL, 0, len(body), number))
        program.extend(body)

    for name, numbers in ON_ITSELF.items():
        itself = [os.getpid()] if "kill" in name else [os.getpid(), 0]
        by_argument(numbers[column], 0, itself, ALLOW, REFUSE)
    by_argument(FCNTL[column], 1, [F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY], REFUSE, ALLOW)
    of_files = [SETFLAGS, SETFLAGS_32, FSSETXATTR, SETVERSION, ENABLE_VERITY]
    by_argument(IOCTL[column], 1, [FIOSETOWN, SIOCSPGRP, *of_files], REFUSE, ALLOW)
    without_rights = [ACCESS_MODE, ACCESS_MODE | TRUNCATING, os.O_RDONLY | TRUNCATING]
    for numbers, argument in (OPEN, 1), (OPENAT, 2):
        if numbers[column] is not None:
            by_argument(numbers[column], argument, without_rights, REFUSE, ALLOW, ACCESS_MODE | TRUNCATING)
    by_argument(CLONE[column], 0, [0], ALLOW, REFUSE, NEW_NAMESPACES)
    by_argument(SOCKETPAIR[column], 1, CONNECTED, ALLOW, REFUSE, KIND)
    if families:
        by_argument(SOCKET["socket"][column], 0, families, ALLOW, REFUSE)
    program.append((RETURN, 0, 0, ALLOW))
    code = b"".join(struct.pack("=HBBI", *one) for one in program)
    held = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HP", len(program), ctypes.addressof(held))
    checked("seccomp", libc.prctl(22, 2, header, 0, 0))


def main():
    end = sys.argv.index("--")
    options = [one.partition("=")[::2] for one in sys.argv[1:end]]
    command = sys.argv[end + 1:]
    names = {name for name, _ in options}
    rules = Rules("network" in names)
    reopened = {int(value) for name, value in options if name == "reopened"}
    allow_descriptors(rules, CHANGE if "attributes" in names else READ_FILE | READ_DIR, reopened)
    for path in PROC:
        rules.allow_path(path, READ)
    rules.allow_path("/proc/self", READ | WRITE_FILE)
    for name, path in options:
        if name in ("read", "write", "device"):
            rules.allow_path(path, {"read": READ, "write": CHANGE, "device": DEVICE}[name])
    rules.restrict()
    families = [*(INTERNET if "network" in names else []), *(UNIX if "unix" in names else [])]
    filter_calls(families, "attributes" in names)
    os.execv(command[0], command)


try:
    main()
except OSError as error:
    sys.exit(f"the program cannot be confined: {error.strerror or error}")
