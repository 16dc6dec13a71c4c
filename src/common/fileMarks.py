"""Marks files by an extended attribute, which Node.js cannot read or write.

The attribute's name is the argument. Lines read from descriptor 3 are commands, lines written to it are answers:

    set FD      marks the file that the parent process has open as FD
    clear FD    removes the mark
    has FD      "yes" or "no"

An answer is "yes", "no" or the name of an errno. The process ends when its channel is closed.
"""
import errno
import os
import sys

CHANNEL = 3
NAME = sys.argv[1]
FILES = f"/proc/{os.getppid()}/fd/"
ABSENT = (errno.ENODATA, errno.EOPNOTSUPP)


def answer(command, file):
    try:
        if command == b"set":
            os.setxattr(file, NAME, b"")
            return "yes"
        if command == b"clear":
            os.removexattr(file, NAME)
            return "no"
        os.getxattr(file, NAME)
        return "yes"
    except OSError as error:
        if command != b"set" and error.errno in ABSENT:
            return "no"
        return errno.errorcode.get(error.errno, str(error.errno))


with os.fdopen(CHANNEL, "rb", closefd=False) as commands:
    for line in commands:
        command, number = line.split()
        os.write(CHANNEL, (answer(command, FILES + str(int(number))) + "\n").encode())
