#!/usr/bin/env python3
"""Record what the real daemon answers, and what the library makes of it.

A real appliance is booted on scratch disks with recording-proxy.py as its
hypervisor, and a tour of the API is made through the Python binding. Calls
that fail are recorded too, with their errors. See README.md for how to run
this and ../README.md for what it writes.
"""

import argparse
import ctypes
import hashlib
import json
import os
import pathlib
import re
import subprocess
import tempfile
import warnings

import guestfs

import fixtures
import golden
import library
import wire

HERE = pathlib.Path(__file__).resolve().parent
SHORT_FILE = 4096  # up to this size downloaded chunks are stored in full
MEGABYTE = 1 << 20
LATIN1 = b"caf\xe9"


class Session:
    """A booted appliance and what was recorded of it so far."""

    def __init__(self, actions, directory, disks):
        self.actions, self.directory, self.lines = actions, directory, []
        self._by_number = {a["proc"]: a for a in actions.values() if a["proc"]}
        self._by_number |= {h["proc"]: a for a in actions.values() for h in a.get("history", ())}
        path = directory / "record"
        path.touch()
        os.environ["GOLDEN_RECORD"] = str(path)
        self._record = path.open(encoding="ascii")
        self._python = guestfs.GuestFS(python_return_dict=True)
        self._raw = library.Library(self._python)
        self._python.set_hv(str(HERE / "recording-proxy.py"))
        self._python.set_backend("direct")
        self._python.set_backend_setting("force_tcg", "1")
        for disk, readonly in disks:
            self._python.add_drive(str(disk), format="raw", readonly=readonly)
        self._python.launch()
        self._record.readlines()

    def call(self, name, *arguments, **optional):
        """Call an action, record it, and give back its value (None after an error)."""
        action = self.actions[name]
        value = error = None
        try:
            value = getattr(self._python, name)(*arguments, **optional)
        except RuntimeError as exception:
            message = re.sub(r"^\w+: ", "", str(exception), count=1)
            error = {"errno": self._raw.last_errno(), "message": message}
        self._add(action, arguments, optional, value, error)
        return value

    def call_raw(self, name, *arguments):
        """Call an action whose arguments or list of strings are not UTF-8."""
        action = self.actions[name]
        address = self._raw.call(action, arguments, {})
        value = library.strings_at(address) if action["ret"]["type"] == "string_list" else None
        self._add(action, arguments, {}, value, None)

    def parse_mountable(self, mountable):
        """internal_parse_mountable, which the Python binding does not have."""

        class Mountable(ctypes.Structure):
            _fields_ = [("im_type", ctypes.c_int32), ("im_device", ctypes.c_char_p), ("im_volume", ctypes.c_char_p)]

        action = self.actions["internal_parse_mountable"]
        found = Mountable.from_address(self._raw.call(action, [mountable.encode()], {}))
        value = {name: getattr(found, name) for name, _ in Mountable._fields_}
        self._add(action, [mountable], {}, {n: v.decode() if isinstance(v, bytes) else v for n, v in value.items()}, None)

    def close(self):
        """Shut the appliance down."""
        self._python.shutdown()
        self._python.close()

    def _add(self, action, arguments, optional, value, error):
        """The golden line of the exchange that the last call made."""
        exchange = [json.loads(line) for line in self._record.readlines()]
        requests = [i for i, e in enumerate(exchange) if e["from"] == "library" and is_header(e)]
        if action["impl"] == "library" and requests:
            # Of the requests a library action makes, the last brings its value.
            exchange = exchange[requests[-1] :]
        elif len(requests) != 1:
            raise RuntimeError(f"{action['name']}: {len(requests)} requests")
        header = wire.read_header(bytes.fromhex(exchange[0]["message"]))
        called = self._by_number[header["proc"]]
        line = {"action": called["name"]}
        if called is not action:
            line["via"] = action["name"]
        given = [value for argument, value in zip(action["args"], arguments) if not golden.is_file(argument)]
        names = [argument["name"] for argument in called["args"] if not golden.is_file(argument)]
        line["args"] = golden.plain_arguments(called["args"], dict(zip(names, given)))
        line["optargs"] = golden.plain_arguments(called["optargs"], optional)
        line["serial"] = header["serial"]
        sent = [event["flag"] for event in exchange if event["from"] == "library" and "flag" in event]
        if sent:
            line["librarySent"] = sent
        line |= replies(exchange)
        if error:
            line["error"] = error
        else:
            line["value"] = self._value(action, arguments, value)
        self.lines.append(line)

    def _value(self, action, arguments, value):
        """What the call returned, a downloaded file included, as JSON."""
        for argument, given in zip(action["args"], arguments):
            if argument.get("kind") == "fileout":
                return file_value(pathlib.Path(os.fsdecode(given)).read_bytes())
        result = action["ret"]
        for past in action.get("history", ()):
            result = past.get("ret", result)
        return plain_value(result, value)


def is_header(event):
    """Whether a recorded message starts with a header, so is no file chunk."""
    return bytes.fromhex(event.get("message", "")).startswith(wire.word(wire.PROGRAM))


def replies(exchange):
    """The daemon's part of an exchange."""
    said = [event for event in exchange if event["from"] == "daemon"]
    at = next(i for i, event in enumerate(said) if is_header(event))
    line = {}
    if at:
        line["before"] = [event["flag"] for event in said[:at]]
    line["reply"] = said[at]["message"]
    rest = said[at + 1 :]
    if rest:
        chunks = [bytes.fromhex(event["message"]) for event in rest if "message" in event]
        flags = [event["flag"] for event in rest if "flag" in event]
        line["chunkSizes"] = [wire.chunk_parts(chunk)[1] for chunk in chunks]
        if sum(line["chunkSizes"]) <= SHORT_FILE:
            line["chunks"] = [chunk.hex() for chunk in chunks]
        else:
            line["chunksSha256"] = hashlib.sha256(b"".join(map(wire.frame, chunks))).hexdigest()
        if any(wire.chunk_parts(chunk)[0] for chunk in chunks):
            line["cancelled"] = True
        if flags:
            line["between"] = flags
    return line


def file_value(data):
    """A downloaded file: its bytes, or size and checksum."""
    if len(data) <= SHORT_FILE:
        return {"hex": data.hex()}
    value = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if data == golden.payload_bytes(len(data)):
        value["byteFormula"] = golden.BYTE_FORMULA
    return value


STRUCTS = {}


def plain_value(description, value):
    """A returned value as JSON, by its description in the action list."""
    kind = description["type"]
    if kind in ("int64", "uint64", "bytes"):
        return str(value)
    if kind == "bool":
        return bool(value)
    if kind == "buffer":
        return {"hex": value.hex() if isinstance(value, bytes) else value.encode().hex()}
    if kind == "struct":
        # By position: a field may have had another name in this version.
        fields = zip(STRUCTS[description["struct"]], value.values())
        return {field["name"]: plain_value(field, item) for field, item in fields}
    if kind == "struct_list":
        return [plain_value({"type": "struct", "struct": description["struct"]}, item) for item in value]
    return golden.plain(value)


def tour(session, directory):
    """All calls, area by area; each may use what the ones before it made."""
    areas = (partitions, filesystems, files, listing, transfers, attributes, text_files, augeas, inotify, unmounted,
             lvm, btrfs, raid, luks, registry, iso, inspection, tools, errors)  # fmt: skip
    for area in areas:
        print(area.__name__, flush=True)
        area(session.call, session, directory)


def partitions(call, _session, _directory):
    call("part_init", "/dev/sda", "gpt")
    start = 2048
    for size in (100, 120, 300, 32, 16, 64):
        call("part_add", "/dev/sda", "p", start, start + size * 2048 - 1)
        start += size * 2048
    call("part_set_name", "/dev/sda", 1, "golden")
    call("part_get_name", "/dev/sda", 1)
    call("part_set_bootable", "/dev/sda", 1, True)
    call("part_get_bootable", "/dev/sda", 1)
    call("part_get_bootable", "/dev/sda", 2)
    call("part_list", "/dev/sda")
    call("part_get_parttype", "/dev/sda")
    call("part_get_gpt_type", "/dev/sda", 1)
    call("part_set_gpt_guid", "/dev/sda", 1, "01234567-89AB-CDEF-0123-456789ABCDEF")
    call("part_get_gpt_guid", "/dev/sda", 1)
    call("part_get_gpt_attributes", "/dev/sda", 1)
    call("part_get_disk_guid", "/dev/sda")
    call("part_to_dev", "/dev/sda1")
    call("part_to_partnum", "/dev/sda1")
    call("part_disk", "/dev/sdb", "mbr")
    call("part_set_mbr_id", "/dev/sdb", 1, 0x83)
    call("part_get_mbr_id", "/dev/sdb", 1)
    call("part_get_mbr_part_type", "/dev/sdb", 1)
    call("list_devices")
    call("list_partitions")
    call("nr_devices")
    call("is_whole_device", "/dev/sda")
    call("blockdev_getsize64", "/dev/sda")
    call("blockdev_getsz", "/dev/sda")
    call("blockdev_getss", "/dev/sda")
    call("blockdev_getbsz", "/dev/sda")
    call("blockdev_getro", "/dev/sda")
    call("sfdisk_l", "/dev/sda")


def filesystems(call, session, _directory):
    call("mkfs", "ext4", "/dev/sda1", label="golden", blocksize=4096)
    call("mkswap", "/dev/sda5", label="swap")
    call("mkfs", "vfat", "/dev/sda6")
    call("mkfs", "ntfs", "/dev/sdb1", label="ntfs")
    call("list_filesystems")
    call("vfs_type", "/dev/sda1")
    call("vfs_label", "/dev/sda1")
    call("set_uuid", "/dev/sda1", "01234567-89ab-cdef-0123-456789abcdef")
    call("vfs_uuid", "/dev/sda1")
    call("blkid", "/dev/sda1")
    call("findfs_label", "golden")
    call("findfs_uuid", "01234567-89ab-cdef-0123-456789abcdef")
    call("tune2fs", "/dev/sda1", maxmountcount=7)
    call("tune2fs_l", "/dev/sda1")
    call("get_e2label", "/dev/sda1")
    call("get_e2uuid", "/dev/sda1")
    call("e2fsck", "/dev/sda1", correct=True)
    call("fsck", "ext4", "/dev/sda1")
    call("vfs_minimum_size", "/dev/sda1")
    call("ntfs_3g_probe", False, "/dev/sdb1")
    call("filesystem_available", "ext4")
    call("filesystem_available", "nosuchfs")
    session.parse_mountable("/dev/sda1")
    session.parse_mountable("btrfsvol:/dev/sda3/sub/deep")
    call("mount_options", "acl,user_xattr", "/dev/sda1", "/")
    call("mounts")
    call("mountpoints")
    call("statvfs", "/")
    call("df")
    call("umask", 0o27)
    call("get_umask")
    call("umask", 0o22)


def files(call, _session, _directory):
    call("mkdir", "/dir")
    call("mkdir_p", "/deep/er/still")
    call("mkdir_mode", "/private", 0o700)
    call("write", "/dir/text", b"one\ntwo golden words\nthree\n")
    call("write_append", "/dir/text", b"four\n")
    call("touch", "/dir/empty")
    call("touch", "/dir/sparse")
    call("truncate_size", "/dir/sparse", 5 * MEGABYTE)
    call("fill", 65, 3000, "/dir/filled")
    call("fill_pattern", "abc", 30, "/dir/pattern")
    call("pwrite", "/dir/filled", b"\0\1\2\xff", 10)
    call("pread", "/dir/filled", 16, 4)
    call("pread", "/dir/empty", 16, 0)
    call("ln_s", "/dir/text", "/link")
    call("ln", "/dir/text", "/dir/hard")
    call("mkfifo", 0o600, "/dir/fifo")
    call("mknod_c", 0o600, 1, 3, "/dir/null")
    call("mknod_b", 0o600, 7, 0, "/dir/loop")
    for name in ("is_file", "is_dir", "exists", "is_symlink", "is_fifo", "is_chardev", "is_blockdev", "is_socket"):
        call(name, "/dir/fifo")
    call("is_dir", "/dir")
    call("exists", "/nothing")
    call("is_file", "/link", followsymlinks=True)
    call("is_zero", "/dir/sparse")
    call("readlink", "/link")
    call("realpath", "/dir/../link")
    call("case_sensitive_path", "/DIR/TEXT")
    call("statns", "/dir/text")
    call("lstatns", "/link")
    call("lstatnslist", "/dir", ["text", "empty", "missing"])
    call("chmod", 0o640, "/dir/text")
    call("chown", 1000, 1001, "/dir/text")
    call("utimens", "/dir/text", 1234567890, 123456789, 1300000000, 987654321)
    call("lstatns", "/dir/text")
    call("filesize", "/dir/sparse")
    call("du", "/dir")
    call("cp", "/dir/text", "/dir/copy")
    call("mv", "/dir/copy", "/dir/moved")
    call("rm", "/dir/moved")
    call("equal", "/dir/text", "/dir/hard")
    call("checksum", "sha256", "/dir/text")
    call("file", "/dir/text")
    call("mkdtemp", "/dir/tmpXXXXXX")
    call("mktemp", "/dir/fileXXXXXX", suffix=".tmp")


def listing(call, session, directory):
    call("ll", "/dir")
    call("readdir", "/dir")
    call("ls0", "/dir", str(directory / "names"))
    call("find0", "/", str(directory / "names"))
    call("glob_expand", "/dir/*")
    call("glob_expand", "/none/*")
    call("readlinklist", "/", ["link", "dir"])
    session.call_raw("mkdir", b"/" + LATIN1)
    session.call_raw("touch", b"/" + LATIN1 + b"/\xff")
    session.call_raw("glob_expand", b"/" + LATIN1 + b"/*")
    session.call_raw("find0", b"/" + LATIN1, os.fsencode(directory / "names"))
    call("mkdir", "/日本-😀")
    call("glob_expand", "/日本*")


def transfers(call, _session, directory):
    source, target = str(directory / "source"), str(directory / "target")
    for size in (0, 1, 8192, 100000):
        pathlib.Path(source).write_bytes(golden.payload_bytes(size))
        call("upload", source, f"/dir/size-{size}")
        call("download", f"/dir/size-{size}", target)
    call("download_offset", "/dir/size-100000", target, 50000, 100)
    call("upload_offset", source, "/dir/size-1", 3)
    call("upload", source, "/nothing/here")
    call("upload", source, "/dir")
    call("download", "/nothing", target)
    call("download", "/dir", target)
    call("download", "/dir/sparse", "/dev/full")
    call("base64_out", "/dir", target)
    call("tar_out", "/dir", target, excludes=["sparse", "size-*"], numericowner=True)
    call("tar_in", target, "/deep")
    call("tar_in", source, "/deep")
    call("tgz_out", "/deep/er", target)
    call("tgz_in", target, "/deep")
    call("base64_out", "/dir/text", target)
    call("base64_in", target, "/dir/decoded")
    call("checksums_out", "md5", "/deep/er", target)
    call("compress_out", "gzip", "/dir/text", target)
    call("cpio_out", "/deep/er", target, format="newc")
    call("copy_file_to_file", "/dir/sparse", "/dir/copied", size=MEGABYTE)
    call("copy_device_to_file", "/dev/sda5", "/dir/device", size=4 * MEGABYTE)


def attributes(call, _session, _directory):
    call("setxattr", "user.golden", "v\u00e4lue", 6, "/dir/text")
    call("setxattr", "user.empty", "", 0, "/dir/text")
    call("getxattr", "/dir/text", "user.golden")
    call("lgetxattr", "/dir/text", "user.empty")
    call("getxattr", "/dir/text", "user.missing")
    call("getxattrs", "/dir/text")
    call("lgetxattrs", "/dir/empty")
    call("lxattrlist", "/dir", ["text", "empty", "missing"])
    call("removexattr", "user.empty", "/dir/text")
    call("acl_get_file", "/dir/text", "access")
    call("acl_set_file", "/dir/text", "access", "u::rw-,u:5:r--,g::r--,m::r--,o::---")
    call("cap_set_file", "/dir/hard", "cap_chown=p")
    call("cap_get_file", "/dir/hard")
    call("set_e2attrs", "/dir/text", "d")
    call("get_e2attrs", "/dir/text")
    call("get_e2generation", "/dir/text")


def text_files(call, _session, _directory):
    call("grep", "o", "/dir/text")
    call("grep", "O", "/dir/text", insensitive=True, extended=True)
    call("grep", "nothing", "/dir/text")
    call("head_n", 2, "/dir/text")
    call("tail_n", 1, "/dir/text")
    call("head", "/dir/empty")
    call("wc_l", "/dir/text")
    call("wc_c", "/dir/text")
    call("strings", "/dir/filled")
    call("hexdump", "/dir/pattern")
    call("zgrep", "o", "/dir/text")
    call("write", "/initrd", fixtures.initrd({"init": b"hello\0\xff", "etc/x": b""}))
    call("initrd_list", "/initrd")
    call("initrd_cat", "/initrd", "init")


def augeas(call, _session, _directory):
    call("mkdir_p", "/etc")
    call("write", "/etc/hosts", b"127.0.0.1 localhost\n::1 ip6 golden\n")
    call("aug_init", "/", 0)
    call("aug_ls", "/files/etc")
    call("aug_match", "/files/etc/hosts/*/canonical")
    call("aug_get", "/files/etc/hosts/1/canonical")
    call("aug_get", "/files/etc/hosts/9/canonical")
    call("aug_set", "/files/etc/hosts/1/canonical", "here")
    call("aug_defvar", "v", "/files/etc/hosts")
    call("aug_defvar", "v", None)
    call("aug_defnode", "n", "/files/etc/hosts/3/ipaddr", "10.0.0.1")
    call("aug_defnode", "n", "/files/etc/hosts/3/ipaddr", "10.0.0.1")
    call("aug_setm", "/files/etc/hosts/*", "canonical", "all")
    call("aug_rm", "/files/etc/hosts/2")
    call("aug_label", "/files/etc/hosts/1")
    call("aug_close")


def inotify(call, _session, _directory):
    call("inotify_init", 0)
    call("inotify_add_watch", "/dir", 0x3C0)
    call("touch", "/dir/watched")
    call("mv", "/dir/watched", "/dir/moved-away")
    call("inotify_read")
    call("inotify_files")
    call("inotify_close")


def unmounted(call, _session, directory):
    """What reads file systems without mounting them."""
    call("write", "/yara", b"some golden words")
    call("rm_rf", "/dir/sparse")
    rules = directory / "rules"
    rules.write_bytes(fixtures.YARA_RULES)
    call("yara_load", str(rules))
    call("yara_scan", "/yara")
    call("yara_destroy")
    call("umount_all")
    call("mount", "/dev/sda6", "/")
    call("write", "/golden.txt", b"golden\n")
    call("mkdir", "/golden.d")
    call("umount", "/")
    inodes = {entry["tsk_name"]: entry["tsk_inode"] for entry in call("filesystem_walk", "/dev/sda6") or []}
    call("find_inode", "/dev/sda6", inodes.get("golden.txt", 5))
    call("download_inode", "/dev/sda6", inodes.get("golden.txt", 5), str(directory / "target"))
    call("zero", "/dev/sda6")
    call("is_zero_device", "/dev/sda6")
    call("pread_device", "/dev/sda", 8, 512)
    call("pwrite_device", "/dev/sda6", b"golden", 3)
    call("zero_device", "/dev/sda6")
    call("is_zero_device", "/dev/sda6")
    call("checksum_device", "md5", "/dev/sda6")
    call("copy_device_to_device", "/dev/sda2", "/dev/sda3")


def lvm(call, _session, _directory):
    call("pvcreate", "/dev/sda2")
    call("vgcreate", "VG", ["/dev/sda2"])
    call("lvcreate", "LV1", "VG", 20)
    call("lvcreate_free", "LV2", "VG", 50)
    for name in ("pvs", "vgs", "lvs", "pvs_full", "vgs_full", "lvs_full"):
        call(name)
    call("lvuuid", "/dev/VG/LV1")
    call("vgpvuuids", "VG")
    call("vgmeta", "VG")
    call("is_lv", "/dev/VG/LV1")
    call("is_lv", "/dev/sda1")
    call("lvm_canonical_lv_name", "/dev/mapper/VG-LV1")
    call("list_dm_devices")
    call("lvremove", "/dev/VG/LV2")
    call("lvresize", "/dev/VG/LV1", 32)
    call("lvresize", "/dev/VG/LV1", 2**31 - 1)


def btrfs(call, _session, _directory):
    call("mkfs_btrfs", ["/dev/sda3"], label="butter")
    call("mount", "/dev/sda3", "/")
    call("btrfs_subvolume_create", "/sub")
    call("btrfs_subvolume_snapshot", "/sub", "/snap", ro=True)
    call("btrfs_subvolume_list", "/")
    call("btrfs_subvolume_list", "/dev/sda3")
    call("btrfs_subvolume_show", "/sub")
    call("btrfs_subvolume_get_default", "/")
    call("btrfs_quota_enable", "/", True)
    call("btrfs_qgroup_show", "/")
    call("btrfs_filesystem_show", "/dev/sda3")
    call("btrfs_balance_status", "/")
    call("btrfs_scrub_start", "/")
    call("btrfs_scrub_status", "/")
    call("umount", "/")
    call("list_filesystems")
    call("mount", "btrfsvol:/dev/sda3/sub", "/")
    call("mounts")
    call("umount_all")


def raid(call, _session, _directory):
    call("md_create", "golden", ["/dev/sdc", "/dev/sdd"], level="raid1", chunk=65536)
    call("md_create", "golden", ["/dev/sdc", "/dev/sdd"], level="raid1")
    call("list_md_devices")
    for device in call("list_md_devices") or []:
        call("md_stat", device)
        call("md_detail", device)
        call("md_stop", device)


def luks(call, _session, _directory):
    call("luks_format", "/dev/sda4", "secret", 0)
    call("luks_uuid", "/dev/sda4")
    call("cryptsetup_open", "/dev/sda4", "wrong", "opened")
    call("cryptsetup_open", "/dev/sda4", "secret", "opened", readonly=True)
    call("list_dm_devices")
    call("cryptsetup_close", "/dev/mapper/opened")


def registry(call, _session, _directory):
    call("mount", "/dev/sda1", "/")
    call("write", "/hive", fixtures.registry_hive())
    call("hivex_open", "/hive", write=True)
    root = call("hivex_root")
    call("hivex_node_name", root)
    child = call("hivex_node_add_child", root, "child")
    call("hivex_node_children", root)
    call("hivex_node_children", child)
    call("hivex_node_get_child", root, "missing")
    call("hivex_node_set_value", child, "text", 1, "golden".encode("utf-16le") + b"\0\0")
    call("hivex_node_set_value", child, "", 3, b"\0\1\2\xff")
    values = call("hivex_node_values", child)
    for value in values or []:
        handle = value["hivex_value_h"]
        call("hivex_value_key", handle)
        call("hivex_value_type", handle)
        call("hivex_value_value", handle)
    call("hivex_value_string", values[0]["hivex_value_h"])
    call("hivex_node_parent", child)
    call("hivex_commit", None)
    call("hivex_close")
    call("umount_all")


def iso(call, _session, _directory):
    call("isoinfo_device", "/dev/sde")
    call("mount_ro", "/dev/sde", "/")
    call("ll", "/")
    call("umount", "/")


def inspection(call, _session, directory):
    call("mount", "/dev/sda1", "/")
    for name in ("/bin", "/etc", "/usr/lib/rpm", "/var/lib/rpm", "/boot"):
        call("mkdir_p", name)
    release = 'NAME=Fedora\nID=fedora\nVERSION_ID=36\nPRETTY_NAME="Golden 36"\n'
    for name, text in (
        ("os-release", release),
        ("fedora-release", "Fedora release 36 (Golden)\n"),
        ("redhat-release", "Fedora release 36 (Golden)\n"),
        ("fstab", "LABEL=golden / ext4 defaults 0 0\n"),
        ("hostname", "golden.example\n"),
    ):
        call("write", "/etc/" + name, text.encode())
    call("write", "/usr/lib/rpm/macros", b"%_dbpath /var/lib/rpm\n%_db_backend sqlite\n")
    call("write", "/usr/lib/rpm/rpmrc", b"")
    call("write", "/bin/ls", fixtures.ELF)
    call("file_architecture", "/bin/ls")
    database = directory / "rpmdb.sqlite"
    packages = (
        {"name": "golden", "version": "1.0", "release": "2", "epoch": 3, "summary": "A package", "description": "Ä\ntwo lines",
         "url": "http://example.com/", "arch": "noarch"},
        {"name": "another", "version": "2", "release": "1", "summary": "", "description": "", "arch": "x86_64"},
    )  # fmt: skip
    fixtures.rpm_database(database, packages)
    call("upload", str(database), "/var/lib/rpm/rpmdb.sqlite")
    call("umount_all")
    roots = call("inspect_os")
    call("inspect_get_roots")
    for root in roots or []:
        for name in ("type", "distro", "arch", "major_version", "minor_version", "product_name", "product_variant", "hostname",
                     "package_format", "package_management", "mountpoints", "filesystems", "drive_mappings", "format",
                     "windows_systemroot"):  # fmt: skip
            call("inspect_get_" + name, root)
        call("inspect_is_live", root)
        call("mount", root, "/")
        call("inspect_list_applications2", root)
        call("umount_all")
    call("inspect_get_type", "/dev/sda6")


def tools(call, _session, _directory):
    call("available_all_groups")
    call("utsname")
    call("ping_daemon")
    call("echo_daemon", [])
    call("echo_daemon", ["a", "b c", "ü"])
    call("sync")
    call("drop_caches", 3)
    call("debug", "sh", ["echo", "golden"])
    call("lvm_scan", True)
    call("sleep", 1)


def errors(call, _session, directory):
    target = str(directory / "target")
    call("mount", "/dev/sdz", "/")
    call("mount", "/dev/sda5", "/")
    call("ll", "/")
    call("mount", "/dev/sda1", "/")
    call("mkdir", "/dir")
    call("mkdir", "/none/dir")
    call("rmdir", "/dir")
    call("rm", "/dir")
    call("pread", "/nothing", 10, 0)
    call("readdir", "/dir/text")
    call("readlink", "/dir/text")
    call("mkdir", "relative")
    call("checksum", "nonsense", "/dir/text")
    call("command", ["/bin/nothing"])
    call("sh", "true")
    call("hivex_root")
    call("inotify_read")
    call("aug_get", "/files")
    call("journal_open", "/dir")
    call("journal_next")
    call("ldmtool_scan")
    call("xfs_info", "/")
    call("mksquashfs", "/none", target)
    call("tar_out", "/none", target)
    call("fallocate64", "/huge", 2**50)
    call("part_list", "/dev/sda6")
    call("umount_all")


def disks(directory):
    """The scratch disks, as (path, read-only)."""
    result = []
    for number, size in enumerate((640, 64, 40, 40)):
        path = directory / f"disk{number}"
        with path.open("wb") as file:
            file.truncate(size * MEGABYTE)
        result.append((path, False))
    tree = directory / "tree"
    tree.mkdir()
    (tree / "README").write_text("golden\n")
    iso_file = directory / "disk.iso"
    command = ["genisoimage", "-quiet", "-R", "-V", "GOLDEN", "-publisher", "NOBODY", "-A", "TEST", "-o", iso_file, tree]
    subprocess.run(command, check=True)
    return [*result, (iso_file, True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--actions", required=True, help="the action list (JSON)")
    parser.add_argument("--output", type=pathlib.Path, default=HERE.parent / "replies.json")
    options = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)
    actions = library.load_actions(options.actions)
    with open(options.actions, encoding="utf-8") as file:
        STRUCTS.update({s["name"]: s["fields"] for s in json.load(file)["structs"]})
    with tempfile.TemporaryDirectory(prefix="golden-") as name:
        directory = pathlib.Path(name)
        session = Session(actions, directory, disks(directory))
        tour(session, directory)
        session.close()
    golden.write_lines(session.lines, options.output)
    failed = [line for line in session.lines if "error" in line]
    print(f"{len(session.lines)} replies of {len({line['action'] for line in session.lines})} actions, {len(failed)} errors:")
    for line in failed:
        print(line["action"], line["error"])


main()
