"""Hands open files to a running qemu, over its second monitor: only with a message can a descriptor be passed.

    fdSender.py COUNT       descriptor 3 gives the messages, one a line; 4 is the server's end of the
                            monitor; those from 5 on are the files, one for each message

It reads nothing from qemu: the server waits for each answer before it gives the next message.
"""
import socket
import sys

MESSAGES = 3
MONITOR = 4
FIRST_FILE = 5
LONGEST_MESSAGE = 4096
# A qemu that reads nothing leaves no room for a message.
LIMIT_SECONDS = 30


def main(count):
    messages = open(MESSAGES, "rb", buffering=0)
    monitor = socket.socket(fileno=MONITOR)
    monitor.settimeout(LIMIT_SECONDS)
    for file in range(FIRST_FILE, FIRST_FILE + count):
        message = messages.readline(LONGEST_MESSAGE)
        if not message:
            return
        # The descriptor goes with the first byte.
        sent = socket.send_fds(monitor, [message], [file])
        monitor.sendall(message[sent:])


main(int(sys.argv[1]))
