"""Things to put on the scratch disks that the appliance cannot make itself."""

import gzip
import sqlite3
import struct

YARA_RULES = b'rule golden { strings: $a = "golden words" condition: $a }\n'

# The header of an x86-64 executable, enough to tell its architecture.
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 0, 64, 0, 0) + bytes(64)

# The library only reads the packages but wants all of the indexes to be there.
RPM_INDEXES = (
    "Name Basenames Group Requirename Providename Conflictname Obsoletename Triggername Dirnames Installtid Sigmd5 "
    "Sha1header Filetriggername Transfiletriggername Recommendname Suggestname Supplementname Enhancename"
).split()


def initrd(files):
    """A gzipped cpio archive."""
    archive = b""
    for name, data in [*files.items(), ("TRAILER!!!", b"")]:
        encoded = name.encode() + b"\0"
        numbers = (1, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08X" % number for number in numbers)
        for part in (header + encoded, data):
            archive += part + bytes(-len(part) % 4)
    return gzip.compress(archive)


def registry_hive():
    """A Windows registry hive with nothing but a root key."""

    def cell(data):
        data += bytes(-(len(data) + 4) % 8)
        return struct.pack("<i", -(len(data) + 4)) + data

    none, root = 0xFFFFFFFF, 0x20
    name = b"golden"
    security_at = root + len(cell(bytes(76) + name))
    key = b"nk" + struct.pack(
        "<HQ15IHH", 0x2C, 0, 0, none, 0, 0, none, none, 0, none, security_at, none, 0, 0, 0, 0, 0, len(name), 0
    )
    security = b"sk\0\0" + struct.pack("<IIII", security_at, security_at, 1, 20) + b"\1\0\4\x80" + bytes(16)
    cells = cell(key + name) + cell(security)
    free = 0x1000 - root - len(cells)
    page = b"hbin" + struct.pack("<IIQQI", 0, 0x1000, 0, 0, 0) + cells + struct.pack("<i", free) + bytes(free - 4)
    header = b"regf" + struct.pack("<IIQIIIIIII", 1, 1, 0, 1, 3, 0, 1, root, 0x1000, 1)
    header += bytes(508 - len(header))
    checksum = 0
    for (number,) in struct.iter_unpack("<I", header):
        checksum ^= number
    header += struct.pack("<I", checksum)
    return header + bytes(4096 - len(header)) + page


def rpm_database(path, packages):
    """An RPM database (of the SQLite kind) of packages given as dictionaries of tags."""
    tags = {"name": 1000, "version": 1001, "release": 1002, "epoch": 1003, "summary": 1004, "description": 1005, "url": 1020, "arch": 1022}
    int32, string = 4, 6
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
        for name in RPM_INDEXES:
            database.execute(f"CREATE TABLE '{name}' (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
        for package in packages:
            index, store = b"", b""
            for name, value in sorted(package.items(), key=lambda item: tags[item[0]]):
                if isinstance(value, int):
                    store += bytes(-len(store) % 4)
                    data, kind = struct.pack(">I", value), int32
                else:
                    data, kind = value.encode() + b"\0", string
                index += struct.pack(">IIII", tags[name], kind, len(store), 1)
                store += data
            blob = struct.pack(">II", len(index) // 16, len(store)) + index + store
            database.execute("INSERT INTO Packages (blob) VALUES (?)", (blob,))
        database.execute("PRAGMA user_version = 1")
    database.close()
