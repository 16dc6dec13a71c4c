"""A program over libguestfs's Python binding, or over what takes its place, measured from inside its own process.

Reads one JSON object a line from standard input, answers each with one line. Times are taken
here, around the call of the library alone, so that the conversation costs it nothing.
"""
import json
import sys
import time

import guestfs

handles = {}


def launch(drives):
    start = time.perf_counter()
    g = guestfs.GuestFS(python_return_dict=True)
    for drive in drives:
        if "scratchSize" in drive:
            g.add_drive_scratch(drive["scratchSize"])
        else:
            g.add_drive_opts(drive["path"], readonly=True, format=drive["format"])
    g.launch()
    seconds = time.perf_counter() - start
    number = len(handles) + 1
    handles[number] = g
    return {"seconds": seconds, "handle": number}


def call(handle, name, args):
    action = getattr(handles[handle], name)
    start = time.perf_counter()
    value = action(*args)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "value": value if isinstance(value, str) else None, "length": len(value) if isinstance(value, list) else None}


def repeat(handle, name, args, count):
    action = getattr(handles[handle], name)
    samples = []
    for _ in range(count):
        start = time.perf_counter()
        action(*args)
        samples.append(time.perf_counter() - start)
    return {"samples": samples}


def close(handle):
    g = handles[handle]
    handles[handle] = None
    g.close()
    return {}


def version():
    parts = guestfs.GuestFS(python_return_dict=True).version()
    return {"version": "{major}.{minor}.{release}".format(**parts)}


OPERATIONS = {"launch": launch, "call": call, "repeat": repeat, "close": close, "version": version}

for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = OPERATIONS[request.pop("op")](**request)
    except RuntimeError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
