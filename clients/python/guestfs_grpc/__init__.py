"""libguestfs over the network: the interface of libguestfs's own Python binding, for a guestfs-grpc server.

    import guestfs_grpc as guestfs
    g = guestfs.GuestFS(python_return_dict=True, server="127.0.0.1:50051")
    g.add_drive_opts("guest.img", format="raw", readonly=True)
    g.launch()
    print(g.list_filesystems())
    g.close()

`install_alias()` makes `import guestfs` find this package; so does PYTHONPATH with what `python3 -m guestfs_grpc` prints.
"""
import sys

from ._errors import ClosedHandle, ConnectionLost, GuestfsError
from ._events import (EVENT_ALL, EVENT_APPLIANCE, EVENT_CLOSE, EVENT_ENTER, EVENT_LAUNCH_DONE, EVENT_LIBRARY,
                      EVENT_LIBVIRT_AUTH, EVENT_PROGRESS, EVENT_SUBPROCESS_QUIT, EVENT_TRACE, EVENT_WARNING,
                      event_to_string)
from ._handle import GuestFS, server_info

__all__ = ["ClosedHandle", "ConnectionLost", "GuestFS", "GuestfsError", "event_to_string", "install_alias",
           "server_info",
           "EVENT_ALL", "EVENT_APPLIANCE", "EVENT_CLOSE", "EVENT_ENTER", "EVENT_LAUNCH_DONE", "EVENT_LIBRARY",
           "EVENT_LIBVIRT_AUTH", "EVENT_PROGRESS", "EVENT_SUBPROCESS_QUIT", "EVENT_TRACE", "EVENT_WARNING"]
__version__ = "0.1.0"


def install_alias():
    """From now on, `import guestfs` finds this package."""
    sys.modules["guestfs"] = sys.modules[__name__]
