"""A program for libguestfs's own binding, on an image with a system: prints what each call gives.

    python3 guest_script.py IMAGE

`import guestfs` decides whether it runs over libguestfs or over this client. It does what programs of others do: it inspects
the system, mounts it and puts files into it.
"""
import hashlib
import sys

import guestfs


def show(label, call):
    """Prints the value of a call, or the type of its error."""
    try:
        print(" ", label, repr(call()))
    except (RuntimeError, TypeError, ValueError) as error:
        print(" ", label, "failed:", [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"][0])


def inspect(g, root):
    """The facts about a system."""
    for fact in ("type", "distro", "arch", "major_version", "minor_version", "hostname", "product_name", "product_variant",
                 "package_format", "package_management"):
        show(fact, lambda fact=fact: getattr(g, f"inspect_get_{fact}")(root))
    show("filesystems", lambda: sorted(g.inspect_get_filesystems(root)))
    mountpoints = g.inspect_get_mountpoints(root)
    show("mountpoints", lambda: sorted(mountpoints))
    return mountpoints


def picture(icon):
    """An icon, briefly."""
    return type(icon), len(icon), hashlib.sha256(icon).hexdigest()


def content(g, root):
    """What needs mounted file systems."""
    for highquality in (1, 0):
        show("icon", lambda quality=highquality: picture(g.inspect_get_icon(root, favicon=0, highquality=quality)))
    for application in g.inspect_list_applications2(root):
        # Newer daemons find out more, but not something else.
        show("application", lambda one=application: [one[f"app2_{name}"] for name in (
            "name", "display_name", "epoch", "version", "release", "summary", "description")])


def inject(g):
    """Files for the system, with owners and permissions by the system's own users."""
    show("tree", lambda: (g.mkdir_p("/root/.ssh"), g.mkdir_p("/root/.ssh")))
    show("append", lambda: [g.write_append("/root/.ssh/authorized_keys", line) for line in ("# one\n", b"two \xff\n")])
    show("whole", lambda: g.read_file("/root/.ssh/authorized_keys"))
    show("mode", lambda: (g.chmod(0o600, "/root/.ssh/authorized_keys"), g.chmod(0o700, "/root/.ssh")))
    show("write", lambda: g.write("/etc/hostname", "gr\u00fcn\n"))
    show("uid", lambda: g.aug_get("/files/etc/passwd/daemon/uid"))
    show("gid", lambda: g.aug_get("/files/etc/group/adm/gid"))
    show("no such user", lambda: g.aug_get("/files/etc/passwd/nobody-there/uid"))
    show("owner", lambda: (g.chown(1, -1, "/etc/hostname"), g.chown(-1, 4, "/etc/hostname")))
    show("no owner", lambda: g.chown(-1, -1, "/nowhere"))
    show("stat", lambda: [g.stat("/etc/hostname")[f"{name}"] for name in ("mode", "uid", "gid", "size")])
    show("no stat", lambda: g.stat("/nowhere"))
    show("kind", lambda: g.vfs_type("/dev/sda"))


# Whether it works at all, and what it finds where nothing is.
probe = guestfs.GuestFS()
probe.add_drive("/dev/null")
show("launch", probe.launch)
show("nothing", probe.inspect_os)
del probe

events = set()
g = guestfs.GuestFS(python_return_dict=False, close_on_exit=False)
g.set_trace(True)
g.set_event_callback(lambda event, handle, message, numbers: events.add((event, len(message) > 0, len(numbers))),
                     guestfs.EVENT_APPLIANCE | guestfs.EVENT_LIBRARY | guestfs.EVENT_WARNING | guestfs.EVENT_TRACE)
g.add_drive_opts(sys.argv[1], format="raw")
g.launch()
roots = g.inspect_os()
show("roots", lambda: roots)
for root in roots:
    for place, device in sorted(inspect(g, root)):
        show("mount", lambda what=device, where=place: (what, where, g.mount_options("", what, where)))
    content(g, root)
    show("augeas", lambda: g.aug_init("/", 0))
    inject(g)
    show("no augeas", g.aug_close)
show("shutdown", g.shutdown)
show("close", g.close)
print(sorted(one for one in events if one[0] == guestfs.EVENT_TRACE))
