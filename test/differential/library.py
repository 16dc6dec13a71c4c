"""libguestfs's C library, one handle: does what it is told and says what came of it.

Reads one JSON object a line from standard input, answers each with one line: {"value": ...}, or
{"errno": ..., "message": ...} of a call that failed. Bytes are {"$bytes": base64}, both ways.
"""
import base64
import ctypes
import errno
import hashlib
import json
import os
import sys
import tempfile
import warnings

import guestfs

# Deprecated actions are asked for, too.
warnings.simplefilter("ignore", DeprecationWarning)

# More than this is told by its digest.
SHOWN_BYTES = 64 * 1024

g = guestfs.GuestFS(python_return_dict=True)

# Python's module does not tell the errno; the C library, which is loaded already, does.
last_errno = ctypes.CDLL("libguestfs.so.0").guestfs_last_errno
last_errno.argtypes = [ctypes.c_void_p]


def received(value):
    if isinstance(value, dict) and "$bytes" in value:
        return base64.b64decode(value["$bytes"])
    return value


def sent(value):
    if isinstance(value, bytes) and len(value) > SHOWN_BYTES:
        return {"$sha256": hashlib.sha256(value).hexdigest(), "$size": len(value)}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: sent(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [sent(one) for one in value]
    return value


def launch(drives):
    for drive in drives:
        g.add_drive_opts(drive, format="raw", cachemode="unsafe")
    g.launch()
    return None


def call(name, required, optional):
    return getattr(g, name)(*[received(value) for value in required], **optional)


def upload(name, required, optional, at, content):
    with tempfile.NamedTemporaryFile() as file:
        file.write(base64.b64decode(content))
        file.flush()
        getattr(g, name)(*required[:at], file.name, *required[at:], **optional)


def download(name, required, optional, at):
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "file")
        getattr(g, name)(*required[:at], path, *required[at:], **optional)
        with open(path, "rb") as file:
            return file.read()


OPERATIONS = {"launch": launch, "call": call, "upload": upload, "download": download}

for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = {"value": sent(OPERATIONS[request.pop("op")](**request))}
    except RuntimeError as error:
        number = last_errno(g.c_pointer())
        answer = {"errno": errno.errorcode.get(number, str(number)), "message": str(error)}
    except UnicodeDecodeError as error:
        # Python has no strings for what the library returned; it is told by its bytes.
        answer = {"value": {"$undecodable": base64.b64encode(error.object).decode()}}
    print(json.dumps(answer), flush=True)

g.close()
