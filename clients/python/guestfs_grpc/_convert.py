"""Arguments to fields of requests, and responses to the values that libguestfs's own binding returns.

Letters of types: s text, z text or None, P path on the server, S list of texts, b bytes, B boolean, i 32 bits, l 64 bits,
p pointer to a domain of libvirt, F file to send, O file to receive, h table, r struct, R list of structs; of fields of
structs: v value as it is, u number without a sign, p percentage or None.
"""
from operator import index

from ._specs import STRUCTS

_LIMITS = {"i": 31, "l": 63}


def _wrong_type(action, name, wanted, value):
    return TypeError(f"{action}() argument '{name}' must be {wanted}, not {type(value).__name__}")


def text(action, name, value):
    if not isinstance(value, str):
        raise _wrong_type(action, name, "str", value)
    if "\0" in value:
        raise ValueError(f"{action}() argument '{name}': embedded null character")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{action}() argument '{name}': {error}") from None
    return value


def _texts(action, name, value):
    if isinstance(value, (str, bytes)):
        raise _wrong_type(action, name, "a list of str", value)
    try:
        items = list(value)
    except TypeError:
        raise _wrong_type(action, name, "a list of str", value) from None
    return [text(action, name, item) for item in items]


def _bytes(action, name, value):
    if isinstance(value, str):
        return value.encode()
    try:
        return bytes(memoryview(value))
    except TypeError:
        raise _wrong_type(action, name, "str or bytes", value) from None


def _number(action, name, value, bits):
    try:
        number = index(value)
    except TypeError:
        raise _wrong_type(action, name, "int", value) from None
    if not -(1 << bits) <= number < 1 << bits:
        raise OverflowError(f"{action}() argument '{name}': {number} does not fit into {bits + 1} bits")
    return number


def _domain(action, name, value):
    """What identifies a domain; the handle has the objects of libvirt's binding."""
    if not isinstance(value, str):
        raise _wrong_type(action, name, "a domain of libvirt", value)
    return text(action, name, value)


def field_value(action, name, letter, value):
    """The value of a field of a request; `value` is not None, unless the letter is z."""
    if letter in "sP":
        return text(action, name, value)
    if letter in _LIMITS:
        return _number(action, name, value, _LIMITS[letter])
    if letter == "B":
        return _number(action, name, value, _LIMITS["i"]) != 0
    if letter == "S":
        return _texts(action, name, value)
    if letter == "z":
        return None if value is None else text(action, name, value)
    if letter == "b":
        return _bytes(action, name, value)
    return _domain(action, name, value)


def request_fields(spec, args, optargs):
    """The fields of a request, and the local file, if the action has one."""
    fields = {}
    file = None
    for (name, letter), value in zip(spec.args, args):
        if letter in "FO":
            file = value
        else:
            fields[name] = field_value(spec.name, name, letter, value)
    for (name, letter), value in zip(spec.optargs, optargs):
        if value is not None:
            converted = field_value(spec.name, name, letter, value)
            fields[name] = {"values": converted} if letter == "S" else converted
    return fields, file


def _struct_value(message, name, letter):
    if letter == "p":
        return getattr(message, name) if message.HasField(name) else None
    value = getattr(message, name)
    return value & 0xFFFFFFFFFFFFFFFF if letter == "u" else value


def _struct(message, fields):
    return {name: _struct_value(message, name, letter) for name, letter in fields}


def result(spec, responses, as_dict):
    """The value of an answer; of several responses, if it came in batches."""
    if spec.result is None:
        return None
    name, letter, struct = spec.result
    if letter == "B":
        return int(getattr(responses[0], name))
    if letter in "ilsb":
        return getattr(responses[0], name)
    if letter == "z":
        return getattr(responses[0], name) if responses[0].HasField(name) else None
    if letter == "S":
        return [item for response in responses for item in getattr(response, name)]
    if letter == "h":
        pairs = [(pair.key, pair.value) for response in responses for pair in getattr(response, name)]
        return dict(pairs) if as_dict else pairs
    fields = STRUCTS[struct]
    if letter == "r":
        return _struct(getattr(responses[0], name), fields)
    return [_struct(item, fields) for response in responses for item in getattr(response, name)]
