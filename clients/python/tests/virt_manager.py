"""Runs virt-manager's code that inspects virtual machines, unchanged, and prints what it finds.

    python3 virt_manager.py VIRT_MANAGER URI

VIRT_MANAGER is a checkout of virt-manager. `import guestfs` decides whether the code runs over libguestfs or over this client.
It inspects all domains of a connection of libvirt.
"""
import builtins
import hashlib
import logging
import os
import queue
import sys
from types import SimpleNamespace

import libvirt
from stubs import package, stub

sources, uri = sys.argv[1:]
results = queue.Queue()


class Emitter:
    """Takes callbacks for signals."""

    def __init__(self):
        self.callbacks = {}

    def connect(self, signal, callback):
        """Calls a function at a signal."""
        self.callbacks[signal] = callback


class Base:
    """The base class of virt-manager's objects."""

    _instance = None
    config = SimpleNamespace(get_libguestfs_inspect_vms=lambda: True)

    def _cleanup_on_app_close(self):
        """There is no application."""


class Machine:
    """A virtual machine."""

    inspection = None

    def __init__(self, connection, domain):
        self.conn = connection
        self._domain = domain

    def get_name(self):
        """Its name."""
        return self._domain.name()

    def get_uuid(self):
        """Its UUID."""
        return self._domain.UUIDString()

    def get_backend(self):
        """libvirt's object."""
        return self._domain

    def set_inspection_data(self, data):
        """Takes what was found."""
        self.inspection = data
        results.put((self, data))


class Connection(Emitter):
    """A connection to libvirt."""

    def __init__(self):
        super().__init__()
        domains = libvirt.open(uri).listAllDomains()
        self.machines = {one.name(): Machine(self, one) for one in sorted(domains, key=lambda one: one.name())}

    def get_uri(self):
        """Its address."""
        return uri

    def list_vms(self):
        """The machines so far: each is announced."""
        return []

    def get_vm_by_name(self, name):
        """A machine."""
        return self.machines[name]

    def is_remote(self):
        """Whether it is that of another host."""
        return False

    def is_test(self):
        """Whether its machines are virt-manager's inventions."""
        return False


class Manager(Emitter):
    """All connections."""

    def __init__(self, connection):
        super().__init__()
        self.conns = {uri: connection}


here = Connection()
manager = Manager(here)
builtins._ = str
stub("virtinst", log=logging.getLogger("virtinst"))
package("virtManager", os.path.join(sources, "virtManager"))
stub("virtManager.baseclass", vmmGObject=Base)
stub("virtManager.connmanager", vmmConnectionManager=SimpleNamespace(get_instance=lambda: manager))
stub("virtManager.object")
stub("virtManager.object.domain", vmmInspectionData=type("Data", (SimpleNamespace,), {}),
     vmmInspectionApplication=type("Application", (SimpleNamespace,), {}))

from virtManager.lib.inspection import vmmInspection


def show(machine, data):
    """Prints what was found."""
    print(machine.get_name())
    for name, value in sorted(vars(data).items()):
        if name == "applications":
            for application in value:
                print("  application", sorted(vars(application).items()))
        elif name == "icon" and value is not None:
            print("  icon", type(value).__name__, len(value), hashlib.sha256(value).hexdigest())
        elif name == "errorstr":
            print("  error", value.split(":")[0])
        else:
            print(" ", name, repr(value))


inspection = vmmInspection.get_instance()
for one in here.machines.values():
    here.callbacks["vm-added"](here, one)
for _ in here.machines:
    show(*results.get())
last = list(here.machines.values())[-1]
inspection.vm_refresh(last)
show(*results.get())
