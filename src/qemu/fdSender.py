"""Passes open files to a running qemu, over its second monitor, a Unix socket.

    fdSender.py SET...      descriptor 3 is the directory with the monitor's socket; those from 4 on
                            are the files, each for the fd set with the number given for it
"""
import json
import os
import socket
import sys

DIRECTORY = 3
FIRST_FILE = 4
SOCKET = "fds"


def command(monitor, answers, execute, arguments, files):
    message = json.dumps({"execute": execute, "arguments": arguments}).encode()
    socket.send_fds(monitor, [message], files)
    for line in answers:
        answer = json.loads(line)
        if "error" in answer:
            sys.exit(answer["error"]["desc"])
        if "return" in answer:
            return
    sys.exit("the QMP connection closed")


def main(*sets):
    os.chdir(f"/proc/self/fd/{DIRECTORY}")
    monitor = socket.socket(socket.AF_UNIX)
    monitor.connect(SOCKET)
    answers = monitor.makefile()
    json.loads(answers.readline())
    command(monitor, answers, "qmp_capabilities", {}, [])
    for index, number in enumerate(sets):
        command(monitor, answers, "add-fd", {"fdset-id": int(number)}, [FIRST_FILE + index])


main(*sys.argv[1:])
