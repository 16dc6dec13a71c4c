"""Runs a program, and ends it when standard input ends, which it does with the process that started this one."""
import signal
import subprocess
import sys
import threading

END_SECONDS = 90


def main(command):
    """Runs the command; returns its exit code."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def end_with_parent():
        sys.stdin.buffer.read()
        child.terminate()
        try:
            child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
