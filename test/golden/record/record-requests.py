#!/usr/bin/env python3
"""Record what the C library sends for every daemon action it has.

The library runs against fake-daemon.py, so nothing is booted and every call
fails after its request was recorded. See README.md for how to run this and
../README.md for what it writes.
"""

import argparse
import hashlib
import json
import os
import pathlib
import tempfile
import threading

import golden
import library
import wire

HERE = pathlib.Path(__file__).resolve().parent

INT_MIN, INT_MAX = -(2**31), 2**31 - 1
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
LONG = b"x" * golden.LONG_COUNT
PAYLOAD_SIZES = (0, 1, 8192, 8193, 100000)
SHORT_PAYLOAD = 64  # up to this size chunks are stored in full

UTF8_NAME = "ünï-日本-😀".encode()
LATIN1_NAME = b"caf\xe9"
GUIDS = (b"21686148-6449-6e6f-744e-656564454649", b"FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF")
MANY = [b"", b"a", b"bc", b"def", b"ghij", b"with space", UTF8_NAME]

# Library actions that pass their arguments on to one daemon procedure.
VIA = {
    "write": "internal_write",
    "write_append": "internal_write_append",
    "lstatnslist": "internal_lstatnslist",
    "lxattrlist": "internal_lxattrlist",
    "readlinklist": "internal_readlinklist",
    "filesystem_walk": "internal_filesystem_walk",
    "find_inode": "internal_find_inode",
    "journal_get": "internal_journal_get",
    "yara_scan": "internal_yara_scan",
    "mountable_device": "internal_parse_mountable",
    "readdir": "internal_readdir",
    "ls": "ls0",
    "find": "find0",
    "stat": "statns",
    "lstat": "lstatns",
    "cat": "download",
}

# One long string for these: (action, required or optional argument).
LONG_ARGUMENTS = (
    ("aug_set", "val"),
    ("aug_defvar", "expr"),
    ("command", "arguments"),
    ("sh", "command"),
    ("set_label", "label"),
    ("upload", "remotefilename"),
    ("pwrite", "content"),
    ("internal_write", "content"),
    ("mkfs", "label"),
    ("mount", "mountpoint"),
)


# What each case gives an argument. A case that says nothing about a kind of
# argument leaves it as in the "typical" case.


def typical(argument, index):
    name, kind = argument["name"].encode(), argument.get("kind")
    values = {
        "bool": True,
        "int": 7 + index,
        "int64": 2**33 + index,
        "opt_string": name,
        "string_list": [name, b"two"],
        "buffer": name + b"\0\xff",
        "string": name,
    }
    if argument["type"] == "string":
        return {
            "device": b"/dev/sd" + b"abc"[index % 3 : index % 3 + 1],
            "mountable": b"/dev/sda1",
            "mountable_or_path": b"/dev/sda1",
            "pathname": b"/" + name,
            "dev_or_path": b"/" + name,
            "guid": GUIDS[0],
        }.get(kind, name)
    if argument["type"] == "string_list":
        return {"device": [b"/dev/sda", b"/dev/sdb"], "pathname": [b"/one", b"/two"]}.get(kind, values["string_list"])
    return values[argument["type"]]


def empty(argument, _index):
    return {
        "bool": False,
        "int": 0,
        "int64": 0,
        "opt_string": None,
        "string_list": [],
        "buffer": b"",
        "string": GUIDS[0] if argument.get("kind") == "guid" else b"",
    }[argument["type"]]


def smallest(argument, index):
    return {
        "int": INT_MIN,
        "int64": INT64_MIN,
        "opt_string": b"",
        "string_list": [b"one"],
        "buffer": b"\0",
        "string": GUIDS[1] if argument.get("kind") == "guid" else typical(argument, index),
    }.get(argument["type"], typical(argument, index))


def largest(argument, index):
    text = UTF8_NAME
    if argument.get("kind") in ("pathname", "dev_or_path", "mountable_or_path"):
        text = b"/" + UTF8_NAME
    elif argument.get("kind") in ("device", "mountable", "guid"):
        text = typical(argument, index)
    return {
        "bool": True,
        "int": INT_MAX,
        "int64": INT64_MAX,
        "opt_string": UTF8_NAME,
        "string_list": MANY,
        "buffer": bytes(range(256)),
        "string": text,
    }[argument["type"]]


def negative(argument, index):
    return {"int": -1, "int64": -1}.get(argument["type"], typical(argument, index))


def latin1(argument, index):
    """File names that are not UTF-8."""
    kind = argument.get("kind")
    if argument["type"] == "string_list" and kind in ("pathname", "filename"):
        return [LATIN1_NAME, UTF8_NAME]
    return {
        "pathname": b"/" + LATIN1_NAME,
        "dev_or_path": b"/" + LATIN1_NAME,
        "mountable_or_path": b"/" + LATIN1_NAME,
        "filename": LATIN1_NAME,
    }.get(kind, typical(argument, index))


def other_place(argument, index):
    """The other form of arguments that can name two sorts of place."""
    return {
        "mountable": b"btrfsvol:/dev/sda1/sub",
        "mountable_or_path": b"/mnt",
        "dev_or_path": b"/dev/sdb",
        "device": b"/dev/sdb1",
    }.get(argument.get("kind") if argument["type"] == "string" else None, typical(argument, index))


CASES = (typical, empty, smallest, largest, negative, latin1, other_place)


class Call:
    """One call to make: values by name, and what to upload."""

    def __init__(self, case, action, arguments, optional=None, payload=None, source="file"):
        self.case, self.action = case, action
        self.arguments, self.optional = arguments, optional or {}
        self.payload, self.source = payload, source

    def key(self):
        return repr((self.arguments, self.optional, self.payload, self.source))


def values_of(action, case):
    """Required arguments as `case` has them, without files."""
    return {a["name"]: case(a, i) for i, a in enumerate(action["args"]) if not golden.is_file(a)}


def calls_of(action):
    """All calls to make of one action; the first is the plainest."""
    uploads = any(a.get("kind") == "filein" for a in action["args"])
    small = 11 if uploads else None
    required = values_of(action, typical)
    for case in CASES:
        yield Call(case.__name__, action, values_of(action, case), payload=small)
    optargs = list(enumerate(action["optargs"]))
    for index, optarg in optargs:
        yield Call("optional_" + optarg["name"], action, required, {optarg["name"]: typical(optarg, index)}, small)
    if optargs:
        for case in (typical, empty, smallest, largest):
            optional = {optarg["name"]: case(optarg, index) for index, optarg in optargs}
            yield Call("all_optional_" + case.__name__, action, required, optional, small)
    if uploads:
        for size in PAYLOAD_SIZES if action["name"] == "upload" else (8193,):
            yield Call(f"payload_{size}", action, required, payload=size)
    if action["name"] == "upload":
        yield Call("payload_from_pipe", action, required, payload=20000, source="pipe")
        yield Call("payload_missing", action, required, payload=0, source="missing")
    if action["name"] == "mount":
        for length in range(1, 9):
            yield Call(f"padding_{length}", action, {**required, "mountpoint": b"/abcdefg"[:length]})
    for name, argument in LONG_ARGUMENTS:
        if name == action["name"]:
            yield long_call(action, required, argument, small)


def long_call(action, required, argument, payload):
    """A call with one argument of 100,000 bytes."""
    value = [LONG] if isinstance(required.get(argument), list) else LONG
    if argument in required:
        return Call("long_" + argument, action, {**required, argument: value}, payload=payload)
    return Call("long_" + argument, action, required, {argument: value}, payload)


class Recorder:
    """Makes calls and turns what the fake daemon saw into golden lines."""

    def __init__(self, actions, directory):
        self.directory = directory
        record = directory / "record"
        record.touch()
        uploads = [a["proc"] for a in actions.values() if any(x.get("kind") == "filein" for x in a["args"])]
        os.environ["GOLDEN_RECORD"] = str(record)
        os.environ["GOLDEN_FILEIN"] = ",".join(map(str, uploads))
        self.record = record.open(encoding="ascii")
        self.library = launch(directory)

    def make(self, call):
        """Make one call; the first message it sent, or None when it sent none."""
        arguments = []
        feeder = None
        for description in call.action["args"]:
            kind = description.get("kind")
            if kind == "filein":
                path, feeder = self.source(call)
                arguments.append(os.fsencode(path))
            elif kind == "fileout":
                arguments.append(os.fsencode(self.directory / "output"))
            else:
                arguments.append(call.arguments[description["name"]])
        self.library.call(call.action, arguments, call.optional)
        if feeder:
            feeder.join()
        lines = self.record.readlines()
        return json.loads(lines[0]) if lines else None

    def source(self, call):
        """The path to upload from, and the thread that feeds it if it is a pipe."""
        path = self.directory / "payload"
        if path.exists():
            path.unlink()
        data = golden.payload_bytes(call.payload)
        if call.source == "file":
            path.write_bytes(data)
        elif call.source == "pipe":
            os.mkfifo(path)
            feeder = threading.Thread(target=path.write_bytes, args=(data,))
            feeder.start()
            return path, feeder
        return path, None


def launch(directory):
    """A handle connected to the fake daemon, with an appliance of empty files."""
    appliance = directory / "appliance"
    appliance.mkdir()
    for name in ("kernel", "initrd", "README.fixed"):
        (appliance / name).touch()
    (appliance / "root").write_bytes(ext2_superblock())
    handle = library.Library()
    handle.must("set_path", os.fsencode(appliance))
    handle.must("set_hv", os.fsencode(HERE / "fake-daemon.py"))
    handle.must("set_backend", b"direct")
    handle.must("set_backend_setting", b"force_tcg", b"1")
    handle.must("add_drive_scratch_argv", library.INT64(1 << 20), None)
    handle.must("launch")
    return handle


def ext2_superblock():
    """Enough of an ext2 image for the library to find its UUID."""
    image = bytearray(64 * 1024)
    image[1024 + 56 : 1024 + 58] = b"\x53\xef"
    image[1024 + 104 : 1024 + 120] = bytes(range(1, 17))
    return bytes(image)


def as_procedure(call, action):
    """The call of `action` that a library action with the same values amounts to."""
    names = [a["name"] for a in action["args"] if not golden.is_file(a)]
    return Call(call.case, action, dict(zip(names, call.arguments.values())))


def golden_line(call, seen, via=None):
    """The golden line for a call and the message that was seen."""
    request = bytes.fromhex(seen["request"])
    chunks = [bytes.fromhex(chunk) for chunk in seen["chunks"]]
    header = wire.read_header(request)
    line = {"action": call.action["name"], "case": call.case}
    if via:
        line["via"] = via
    line["args"] = golden.plain_arguments(call.action["args"], call.arguments)
    line["optargs"] = golden.plain_arguments(call.action["optargs"], call.optional)
    line["serial"] = header["serial"]
    if header["progress_hint"]:
        line["progressHint"] = str(header["progress_hint"])
    if len(request) > golden.LONG_COUNT:
        line["requestLength"] = len(request)
        line["requestSha256"] = hashlib.sha256(request).hexdigest()
    else:
        line["request"] = request.hex()
    if chunks:
        line["payload"] = {"size": call.payload, "byteFormula": golden.BYTE_FORMULA, "source": call.source}
        line["chunkSizes"] = [wire.chunk_parts(chunk)[1] for chunk in chunks]
        if call.payload <= SHORT_PAYLOAD:
            line["chunks"] = [chunk.hex() for chunk in chunks]
        else:
            line["chunksSha256"] = hashlib.sha256(b"".join(map(wire.frame, chunks))).hexdigest()
    return line


def record_all(actions, recorder, old_numbers):
    """Golden lines for every action the library has, and what gave none."""
    lines, silent = [], []
    for name, action in sorted(actions.items()):
        if action["impl"] != "daemon" or not recorder.library.has(name):
            continue
        made = set()
        for call in calls_of(action):
            if call.key() in made:
                continue
            made.add(call.key())
            seen = recorder.make(call)
            if seen:
                lines.append(golden_line(call, seen))
            else:
                silent.append(f"{name} {call.case}: {recorder.library.last_error()}")
    for name, target in sorted(VIA.items()):
        action = actions[name]
        for case in (typical, latin1):
            call = Call(case.__name__, action, values_of(action, case))
            seen = recorder.make(call)
            number = wire.read_header(bytes.fromhex(seen["request"]))["proc"]
            if number == actions[target]["proc"]:
                lines.append(golden_line(as_procedure(call, actions[target]), seen, via=name))
            elif number in old_numbers.get(name, ()):
                lines.append(golden_line(call, seen))
            else:
                raise RuntimeError(f"{name} sent procedure {number}")
    return lines, silent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--actions", required=True, help="the action list (JSON)")
    parser.add_argument("--output", type=pathlib.Path, default=HERE.parent / "requests.json")
    options = parser.parse_args()
    actions = library.load_actions(options.actions)
    old_numbers = {n: {h["proc"] for h in a.get("history", ()) if "proc" in h} for n, a in actions.items()}
    with tempfile.TemporaryDirectory(prefix="golden-") as directory:
        recorder = Recorder(actions, pathlib.Path(directory))
        lines, silent = record_all(actions, recorder, old_numbers)
        recorder.library.close()
    golden.write_lines(lines, options.output)
    print(f"{len(lines)} calls of {len({line['action'] for line in lines})} actions; sent nothing:")
    print("\n".join(silent) or "(none)")


main()
