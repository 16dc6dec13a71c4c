"""A program for libguestfs's own binding: prints what each call gives, types included.

    python3 same_script.py IMAGE DIRECTORY

`import guestfs` decides whether it runs over libguestfs or over this client. IMAGE is an empty raw image, DIRECTORY a place
for local files.
"""
import os
import sys

import guestfs

image, directory = sys.argv[1:]
events = []


def show(label, call):
    """Prints the value of a call, or its error."""
    try:
        print(label, repr(call()))
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        # Types and errnos are the contract; the wording of Python's own errors is not.
        text = str(error) if isinstance(error, RuntimeError) else ""
        print(label, "failed:", [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"][0], text)


def local(name, content=None):
    """A local file."""
    path = os.path.join(directory, name)
    if content is not None:
        with open(path, "wb") as file:
            file.write(content)
    return path


def content_of(path):
    """What is in a local file."""
    with open(path, "rb") as file:
        return file.read()


g = guestfs.GuestFS(python_return_dict=False)
show("state", g.is_config)
show("memsize", lambda: (g.set_memsize(1024), g.get_memsize()))
show("program", g.get_program)
show("append", g.get_append)
show("add_drive_opts", lambda: g.add_drive_opts(image, format="raw", readonly=0, label="data"))
if len(sys.argv) and os.environ.get("FORCE_TCG"):
    g.set_backend_settings(["force_tcg"])
handle = g.set_event_callback(lambda *args: events.append(args), guestfs.EVENT_LAUNCH_DONE)
show("launch", g.launch)
print("launch done", [(event, number == handle, array) for event, number, _, array in events])
g.delete_event_callback(handle)
show("version", lambda: sorted((name, type(value).__name__) for name, value in g.version().items()))
show("devices", g.list_devices)
show("labels", g.list_disk_labels)
show("part_disk", lambda: g.part_disk("/dev/sda", "mbr"))
show("part_list", lambda: g.part_list("/dev/sda"))
show("mkfs", lambda: g.mkfs("ext4", "/dev/sda1", label="hello", blocksize=4096))
show("mkfs_opts", lambda: g.mkfs_opts("ext4", "/dev/sda1", blocksize=None))
show("filesystems", g.list_filesystems)
show("mount", lambda: g.mount("/dev/sda1", "/"))
show("mountpoints", g.mountpoints)
show("write", lambda: g.write("/a", b"one\ntwo\n\xff"))
show("write text", lambda: g.write("/t", "t\u00e4xt"))
show("read_file", lambda: g.read_file("/a"))
show("read_lines", lambda: g.read_lines("/t"))
show("cat", lambda: g.cat("/t"))
show("exists", lambda: (g.exists("/a"), g.exists("/b")))
show("filesize", lambda: g.filesize("/a"))
show("mkdir", lambda: g.mkdir("/d"))
show("mkdir again", lambda: g.mkdir("/d"))
show("touch", lambda: [g.touch("/d/%s" % name) for name in ("x", "y")])
show("ls", lambda: g.ls("/d"))
show("find", lambda: g.find("/d"))
show("readdir", lambda: sorted((entry["name"], entry["ftyp"]) for entry in g.readdir("/d")))
show("statns", lambda: [(name, value) for name, value in g.statns("/a").items() if name in ("st_size", "st_mode", "st_uid")])
show("statvfs", lambda: sorted((name, type(value).__name__) for name, value in g.statvfs("/").items()))
show("xattrs", lambda: (g.setxattr("user.k", "v", 1, "/a"), g.getxattrs("/a")))
show("getxattr", lambda: g.getxattr("/a", "user.k"))
show("tune2fs_l", lambda: [pair for pair in g.tune2fs_l("/dev/sda1") if pair[0] in ("Block size", "Filesystem OS type")])
show("glob", lambda: g.glob_expand("/d/*"))
show("checksum", lambda: g.checksum("md5", "/a"))
show("lvs", g.lvs)
show("lvs_full", g.lvs_full)
show("available", lambda: (g.feature_available(["xfs"]), g.available_all_groups()[:2]))
show("upload", lambda: g.upload(local("up", bytes(range(256)) * 5000), "/up"))
show("download", lambda: (g.download("/up", local("down")), content_of(local("down")) == content_of(local("up"))))
show("download of nothing", lambda: g.download("/nonexistent", local("no")))
show("no file", lambda: os.path.exists(local("no")))
show("upload of nothing", lambda: g.upload(local("nowhere"), "/nowhere"))
os.makedirs(local("tree/sub"), exist_ok=True)
local("tree/sub/leaf", b"leaf")
show("copy_in", lambda: (g.copy_in(local("tree"), "/"), g.read_file("/tree/sub/leaf")))
os.makedirs(local("out"), exist_ok=True)
show("copy_out", lambda: (g.copy_out("/tree", local("out")), content_of(local("out/tree/sub/leaf"))))
show("copy_out of a file", lambda: (g.copy_out("/a", local("out")), content_of(local("out/a"))))
show("tar_out", lambda: (g.tar_out_opts("/d", local("tar"), compress="gzip"), content_of(local("tar"))[:2]))
show("tar_in", lambda: (g.mkdir("/e"), g.tar_in(local("tar"), "/e", compress="gzip"), sorted(g.ls("/e"))))
show("no such file", lambda: g.cat("/nonexistent"))
show("bad device", lambda: g.mkfs("ext4", "/dev/nonexistent"))
show("wrong type", lambda: g.cat(3))
show("bytes", lambda: g.cat(b"/a"))
show("nul", lambda: g.cat("/a\0"))
show("too many", lambda: g.cat("/a", "/b"))
show("unknown", lambda: g.mkfs("ext4", "/dev/sda1", nonsense=1))
show("large", lambda: g.mkdir_mode("/m", 1 << 40))
show("iterator", lambda: g.lstatlist("/d", iter([])))
show("umask", lambda: (g.umask(0o27), g.get_umask()))
show("augeas", lambda: (g.mkdir("/etc"), g.write("/etc/hosts", "127.0.0.1 localhost\n"), g.aug_init("/", 0),
                        g.aug_match("/files/etc/hosts/*"), g.aug_get("/files/etc/hosts/1/canonical"), g.aug_close()))
show("shutdown", g.shutdown)
show("close", g.close)
show("closed", g.ls_hidden if hasattr(g, "ls_hidden") else lambda: g.ls("/"))
