"""Runs the module of OpenStack's nova that injects files into images, unchanged, and prints what it gives.

    python3 nova_vfs.py MODE NOVA ROOT GUEST TWO EMPTY

MODE is threading, or eventlet, as that of nova's services. NOVA is a checkout of nova. `import guestfs` decides whether the
module runs over libguestfs or over this client. ROOT is the image of a root file system, GUEST that of a system with several
file systems, TWO has two systems, and EMPTY none.
"""
import sys

mode, sources, root, guest, two, empty = sys.argv[1:]
if mode == "eventlet":
    # First of all, as nova does it.
    import eventlet
    eventlet.monkey_patch()

import importlib
import logging
import os
from types import SimpleNamespace

from stubs import package, stub

debug = []


class NovaException(Exception):
    """The base class of nova's errors."""


class Log(logging.Handler):
    """Keeps warnings, and whether there are messages of libguestfs."""

    def emit(self, record):
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            print("  warning", text)
        elif text.startswith("event="):
            debug.append(text.split(" ")[0])


def wrap(target):
    """A handle whose calls do not block other work of the process."""
    if mode == "threading":
        return target
    import eventlet.tpool  # pylint: disable=import-outside-toplevel
    return eventlet.tpool.Proxy(target)


CONF = SimpleNamespace(guestfs=SimpleNamespace(debug=False))
logging.basicConfig(level=logging.DEBUG, handlers=[Log()])
package("nova", os.path.join(sources, "nova"))
stub("nova.exception", NovaException=NovaException,
     __getattr__=lambda name: type(name, (NovaException,), {}))
stub("nova.i18n", _=str)
stub("nova.conf", CONF=CONF)
stub("nova.utils", tpool_wrap=wrap)
stub("oslo_log")
stub("oslo_log.log", getLogger=logging.getLogger)
stub("oslo_utils")
stub("oslo_utils.strutils", mask_password=str)


def import_object(name, *args):
    """An object of the class with this name."""
    module, _, kind = name.rpartition(".")
    return getattr(importlib.import_module(module), kind)(*args)


stub("oslo_utils.importutils", import_module=importlib.import_module, import_object=import_object)
from nova.virt.disk.vfs import api
from nova.virt.disk.vfs import guestfs as vfs_guestfs
from nova.virt.image import model


def show(label, call, *args, **named):
    """Prints what a call gives, or its error, as far as it is a contract."""
    try:
        print(" ", label, args, repr(call(*args, **named)))
    except NovaException as error:
        print(" ", label, args, "failed:", type(error).__name__, str(error).split("(")[0])
    except RuntimeError as error:
        print(" ", label, args, "failed: RuntimeError", str(error).rsplit(": ", 1)[-1])


def inject(vfs):
    """What nova does with an image."""
    show("make_path", vfs.make_path, "root/.ssh")
    show("append_file", vfs.append_file, "root/.ssh/authorized_keys", "# a key\n")
    show("append_file", vfs.append_file, "/root/.ssh/authorized_keys", "ssh-ed25519 AAAA\n")
    show("set_permissions", vfs.set_permissions, "root/.ssh", 0o700)
    show("set_ownership", vfs.set_ownership, "root/.ssh", "root", "root")
    show("replace_file", vfs.replace_file, "/etc/network/interfaces", "auto lo\n")
    show("replace_file", vfs.replace_file, "etc/hostname", "gr\u00fcn\n")
    show("read_file", vfs.read_file, "root/.ssh/authorized_keys")
    show("read_file", vfs.read_file, "etc/hostname")
    show("read_file", vfs.read_file, "nowhere")
    show("has_file", vfs.has_file, "etc/passwd")
    show("has_file", vfs.has_file, "nowhere")
    show("set_ownership", vfs.set_ownership, "etc/hostname", "daemon", None)
    show("set_ownership", vfs.set_ownership, "etc/hostname", None, "adm")
    show("set_ownership", vfs.set_ownership, "etc/hostname", "nobody-there", None)
    show("set_ownership", vfs.set_ownership, "nowhere", None, None)
    for path in ("/root/.ssh", "/root/.ssh/authorized_keys", "/etc/hostname"):
        found = vfs.handle.statns(path)
        print(" ", path, oct(found["st_mode"]), found["st_uid"], found["st_gid"], found["st_size"])
    show("get_image_fs", vfs.get_image_fs)


def use(path, partition, mount=True):
    """An image from setup to teardown."""
    print(os.path.basename(path), partition, "mounted" if mount else "not mounted")
    vfs = api.VFS.instance_for_image(model.LocalFileImage(path, model.FORMAT_RAW), partition)
    print(" ", type(vfs).__name__)
    try:
        vfs.setup(mount=mount)
    except NovaException as error:
        print("  setup failed:", type(error).__name__, str(error).split("(")[0].split(" in ")[0])
        return
    try:
        if mount:
            inject(vfs)
        else:
            show("get_image_fs", vfs.get_image_fs)
            show("has_file", vfs.has_file, "etc/passwd")
    finally:
        show("teardown", vfs.teardown)


use(root, None)
CONF.guestfs.debug = True
use(guest, -1)
print("traced", "event=trace" in debug)
CONF.guestfs.debug = False
use(guest, 1)
use(two, -1)
use(empty, -1)
vfs_guestfs.force_tcg()
use(root, None, mount=False)
