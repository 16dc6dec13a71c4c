"""How the golden files are written; ../README.md describes it."""

import json

LONG_COUNT = 100000  # a value of this many equal bytes is written as a repetition
BYTE_FORMULA = "i*7+3 mod 251"


def payload_bytes(size):
    """The contents of an uploaded file: byte i is i*7+3 mod 251."""
    return bytes((i * 7 + 3) % 251 for i in range(size))


def is_file(argument):
    return argument.get("kind") in ("filein", "fileout")


def plain(value):
    """A value as ../README.md says values are written."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        if len(value) == LONG_COUNT:
            return {"repeat": chr(value[0]), "count": len(value)}
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"hex": value.hex()}
    return value


def plain_arguments(descriptions, values):
    """Values by name in the order of the action list."""
    result = {}
    for description in descriptions:
        name = description["name"]
        if name in values:
            value = values[name]
            if description["type"] == "int64":
                value = str(value)
            elif description["type"] == "buffer" and len(value) != LONG_COUNT:
                value = {"hex": value.hex()}
            else:
                value = plain(value)
            result[name] = value
    return result


def write_lines(lines, path):
    """A JSON array with one line per call."""
    body = ",\n".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in lines)
    path.write_text("[\n" + body + "\n]\n", encoding="utf-8")
