"""libguestfs called through its C interface, with types from an action list.

The list says what each argument is; the C functions take them in that order,
and optional arguments as a structure with a bitmask. Strings are bytes here,
so any file name can be sent.
"""

import ctypes
import ctypes.util
import errno
import inspect
import json

import guestfs

VOID, INT, INT64, STRING = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_char_p


def load_actions(path):
    """The action list as a dictionary by name, cut down to what this version has.

    The list may describe a newer library: the Python binding of the installed
    one says which optional arguments exist.
    """
    with open(path, encoding="utf-8") as file:
        actions = {action["name"]: action for action in json.load(file)["actions"]}
    for name, action in actions.items():
        method = getattr(guestfs.GuestFS, name, None)
        if method:
            known = inspect.signature(method).parameters
            action["optargs"] = [optarg for optarg in action["optargs"] if optarg["name"] in known]
    return actions


class Library:
    """One handle of the C library: a new one, or that of a Python object."""

    def __init__(self, python=None):
        self._lib = ctypes.CDLL(ctypes.util.find_library("guestfs") or "libguestfs.so.0")
        self._lib.guestfs_create.restype = VOID
        if python:
            pointer = ctypes.pythonapi.PyCapsule_GetPointer
            pointer.restype, pointer.argtypes = VOID, (ctypes.py_object, STRING)
            self._handle = VOID(pointer(python._o, b"guestfs_h"))
        else:
            self._handle = VOID(self._lib.guestfs_create())
            self._lib.guestfs_set_error_handler(self._handle, None, None)

    def has(self, name):
        """Whether the library has a C function for this action."""
        return hasattr(self._lib, "guestfs_" + name)

    def must(self, name, *arguments):
        """A configuration call that has to succeed, with C types given as they are."""
        function = getattr(self._lib, "guestfs_" + name)
        if function(self._handle, *arguments) == -1:
            raise RuntimeError(f"{name}: {self.last_error()}")

    def last_error(self):
        """Text of the last error, or None."""
        self._lib.guestfs_last_error.restype = STRING
        error = self._lib.guestfs_last_error(self._handle)
        return error and error.decode(errors="replace")

    def call(self, action, arguments, optional):
        """Call an action; `arguments` in order (file arguments as paths), `optional` by name.

        The result is the C function's, as an address or number.
        """
        passed = [self._handle]
        for description, value in zip(action["args"], arguments):
            passed += _argument(description, value)
        name = "guestfs_" + action["name"]
        if action["optargs"]:
            name += "_opts_argv" if action.get("once_had_no_optargs") else "_argv"
            passed.append(ctypes.byref(_optional(action["optargs"], optional)))
        if action["ret"]["type"] == "buffer":
            passed.append(ctypes.byref(ctypes.c_size_t()))
        function = getattr(self._lib, name)
        function.restype = VOID
        return function(*passed)

    def last_errno(self):
        """Name of the last error's errno, or an empty string."""
        return errno.errorcode.get(self._lib.guestfs_last_errno(self._handle), "")

    def close(self):
        self._lib.guestfs_close(self._handle)


def strings_at(address):
    """The bytes of the strings in a C list of strings."""
    pointers = ctypes.cast(address, ctypes.POINTER(STRING))
    result = []
    while pointers[len(result)] is not None:
        result.append(pointers[len(result)])
    return result


def _strings(values):
    return (STRING * (len(values) + 1))(*values, None)


def _argument(description, value):
    """A required argument as the one or two parameters C has for it."""
    kind = description["type"]
    if kind in ("string", "opt_string"):
        return [STRING(value)]
    if kind == "string_list":
        return [_strings(value)]
    if kind == "buffer":
        return [STRING(value), ctypes.c_size_t(len(value))]
    return [INT64(value) if kind == "int64" else INT(value)]


def _optional(descriptions, values):
    """The structure of optional arguments, with only `values` set."""
    types = {"string": STRING, "string_list": ctypes.POINTER(STRING), "int64": INT64, "int": INT, "bool": INT}
    fields = [("bitmask", ctypes.c_uint64)] + [(d["name"], types[d["type"]]) for d in descriptions]
    structure = type("Optional", (ctypes.Structure,), {"_fields_": fields})()
    for bit, description in enumerate(descriptions):
        name = description["name"]
        if name in values:
            value = values[name]
            structure.bitmask |= 1 << bit
            if description["type"] == "string_list":
                value = ctypes.cast(_strings(value), ctypes.POINTER(STRING))
            setattr(structure, name, value)
    return structure
