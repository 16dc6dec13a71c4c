"""The handle: one session of a guestfs-grpc server, with the interface of libguestfs's own binding."""
import atexit
import os
import sys
import weakref

import grpc

from . import _local_copies
from ._actions import Actions
from ._connection import Connection
from ._convert import request_fields, result
from ._errors import ClosedHandle, ConnectionLost, GuestfsError, error_info, from_rpc_error
from ._events import EVENT_APPLIANCE, EVENT_LIBRARY, EVENT_TRACE, Events
from ._files import DestinationFile, SourceFile, is_name
from ._local_server import LocalServer
from ._messages import message_class
from ._specs import SPECS

CLOSE_SECONDS = 10
"""How long the end of a session may take whose connection is lost."""
MOVES = 4
"""How often a call follows its session to another replica."""
_NOT_SEEN = ("ENOENT", "IMAGE_MISSING", "OUTSIDE_IMAGE_ROOTS")
_TRUE = ("1", "true", "t", "yes", "y", "on")
_FALSE = ("0", "false", "f", "no", "n", "off")

_open_handles = weakref.WeakSet()


@atexit.register
def _close_at_exit():
    for handle in list(_open_handles):
        handle._close_quietly()  # pylint: disable=protected-access


def _boolean(name, value):
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise GuestfsError(f"{name}: {value!r} is not a boolean", 22, "EINVAL")


def server_info(*, server=None, credentials=None, token=None):
    """Facts about the server that answers, as a dictionary: `sessions`, `free_places`, `draining`, `replica`, the versions.

    The parameters are those of GuestFS; without a server, there is nothing to ask.
    """
    address = server or os.environ.get("GUESTFS_GRPC_SERVER")
    if address is None:
        raise ValueError("server_info needs the address of a server: server=, or GUESTFS_GRPC_SERVER")
    connection = Connection(address, credentials, token)
    try:
        info = connection.unary("SessionService", "GetServerInfo", {})
    except grpc.RpcError as error:
        raise from_rpc_error(error, None, address) from None
    finally:
        connection.close()
    names = ("server_version", "replica", "endpoint", "daemon_version", "kernel_version", "qemu_version", "sessions",
             "free_places", "draining")
    return {name: getattr(info, name) for name in names}


class GuestFS(Actions):
    """Instances of this class are libguestfs API handles.

    Beside the parameters of libguestfs's own binding: `server` is `host:port`, `tls:host:port` or `unix:/path`, by default
    that in the variable GUESTFS_GRPC_SERVER, or else a server that is started on this machine; `credentials` are gRPC's,
    for a connection with TLS; `token` is a bearer token, by default that in GUESTFS_GRPC_TOKEN.
    """

    def __init__(self, python_return_dict=False, environment=True, close_on_exit=True, *, server=None,
                 credentials=None, token=None):
        self._connection = None
        self._close_on_exit = False
        self._python_return_dict = python_return_dict
        self._last_error = None
        self._lost = None
        address = server or os.environ.get("GUESTFS_GRPC_SERVER")
        self._local = address is None
        connection = Connection(LocalServer.get().address if self._local else address, credentials, token)
        try:
            created = connection.unary("SessionService", "CreateSession", {})
        except grpc.RpcError as error:
            connection.close()
            raise from_rpc_error(error, None, connection.address) from None
        self._session_id = created.id
        self.server_version = created.session.server_version
        connection.name_session(created.id)
        self._connection = connection
        # The handle must not refer to itself, so that it ends with its last reference.
        itself = weakref.ref(self)
        self._events = Events(lambda types: itself()._subscribe(types), lambda: itself()._mark())
        self._close_on_exit = bool(close_on_exit)
        if close_on_exit:
            _open_handles.add(self)
        self.set_program(os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python")
        if environment:
            self.parse_environment()

    @property
    def session_id(self):
        """The ID of the session on the server."""
        return self._session_id

    def __enter__(self):
        self._check_not_closed()
        return self

    def __exit__(self, *_):
        if self._connection is not None:
            self.close()

    def __del__(self):
        if not sys.is_finalizing() or self._close_on_exit:
            self._close_quietly()

    def _check_not_closed(self):
        if self._connection is None:
            raise ClosedHandle("GuestFS: method called on closed handle")

    def close(self):
        """Ends the session: its data is written, its appliance stopped, its images are free.

        Fails if data could not be written; the handle is closed in any case.
        """
        self._check_not_closed()
        connection = self._connection
        try:
            self._events.close(lambda: self._end(connection))
        finally:
            self._connection = None
            _open_handles.discard(self)
            connection.close()

    def _end(self, connection):
        timeout = None if self._lost is None else CLOSE_SECONDS
        try:
            connection.unary("SessionService", "DeleteSession", {"id": self._session_id}, timeout)
        except grpc.RpcError as error:
            if self._lost is None:
                raise from_rpc_error(error, "close", connection.address) from None

    def _close_quietly(self):
        """For the end of the program, where nobody can catch an error."""
        if getattr(self, "_connection", None) is None:
            return
        try:
            self.close()
        except Exception as error:  # pylint: disable=broad-except
            print(f"guestfs_grpc: closing a handle: {error}", file=sys.stderr)

    def last_errno(self):
        """The number of the errno of the last error; 0 if it had none, or if there was no error."""
        self._check_not_closed()
        return 0 if self._last_error is None else self._last_error.errno

    def last_error(self):
        """The text of the last error; None if there was none."""
        self._check_not_closed()
        return None if self._last_error is None else str(self._last_error)

    def set_event_callback(self, cb, event_bitmask):
        """Register an event callback.

        Calls cb(event, event_handle, buf, array) for all of the events in "event_bitmask", one or more EVENT_* constants
        combined with "|". Callbacks run in the thread that makes calls, during a call. Returns a handle for
        delete_event_callback.
        """
        self._check_not_closed()
        return self._failing(None, lambda: self._events.add(cb, event_bitmask))

    def delete_event_callback(self, event_handle):
        """Delete an event callback."""
        self._check_not_closed()
        self._failing(None, lambda: self._events.delete(event_handle))

    def _subscribe(self, types):
        stream = self._connection.watch("EventService", "Subscribe", {"types": types})
        # The service sends its metadata when no later event can be missed.
        stream.initial_metadata()
        if not stream.is_active():
            raise stream
        return stream

    def _mark(self):
        """The call that MARKER names."""
        self._connection.unary("PropertyService", "GetPgroup", {})

    def _failing(self, action, work):
        """Does some work that makes calls; remembers and translates its error."""
        if self._lost is not None:
            raise self._lost
        try:
            return work()
        except grpc.RpcError as error:
            failure = from_rpc_error(error, action, self._connection.address)
            if isinstance(failure, ConnectionLost):
                self._lost = failure
        except GuestfsError as error:
            failure = error
        self._last_error = failure
        raise failure

    def _call(self, spec, args, optargs=()):
        self._check_not_closed()
        fields, file = request_fields(spec, args, optargs)
        if self._local:
            self._make_absolute(spec, fields)
        return self._failing(spec.name, lambda: self._follow(spec, fields, file))

    def _make_absolute(self, spec, fields):
        """A local server has the same files, but another working directory."""
        if fields.get("protocol", "file") != "file":
            return
        for name, letter in spec.args + spec.optargs:
            if letter == "P" and fields.get(name):
                fields[name] = os.path.abspath(fields[name])

    def _follow(self, spec, fields, file):
        """Makes the call; follows the session if it lives on another replica."""
        for _ in range(MOVES):
            try:
                return self._make(spec, fields, file)
            except grpc.RpcError as error:
                info = error_info(error)
                endpoint = info.metadata.get("endpoint") if info is not None else None
                repeatable = file is None or spec.shape == "download" or is_name(file)
                if info is None or info.reason != "SESSION_ELSEWHERE" or not endpoint or not repeatable:
                    raise
                self._move(endpoint)
        return self._make(spec, fields, file)

    def _move(self, endpoint):
        before = self._connection
        self._connection = before.elsewhere(endpoint)
        self._connection.name_session(self._session_id)
        before.close()

    def _make(self, spec, fields, file):
        connection = self._connection
        if spec.shape == "unary":
            if not self._events.wanted or spec.name == "user_cancel":
                response = connection.unary(spec.service, spec.rpc, fields)
            else:
                with self._events.lock:
                    response = self._events.during(connection.unary_future(spec.service, spec.rpc, fields))
            return result(spec, (response,), self._python_return_dict)
        if spec.shape == "upload":
            return self._upload(spec, fields, file)
        if spec.shape == "download":
            return self._download(spec, fields, file)
        return result(spec, list(self._responses(spec, fields)), self._python_return_dict)

    def _responses(self, spec, fields):
        """The messages of a stream, with callbacks in between."""
        call = self._connection.stream(spec.service, spec.rpc, fields)
        try:
            for response in call:
                if self._events.wanted:
                    with self._events.lock:
                        self._events.poll()
                yield response
        finally:
            call.cancel()
            if self._events.wanted:
                with self._events.lock:
                    self._events.settle()

    def _download(self, spec, fields, file):
        destination = DestinationFile(spec.name, file)
        try:
            for response in self._responses(spec, fields):
                destination.write(response.chunk)
            # The file of nothing.
            destination.begin()
        finally:
            destination.close()

    def _upload(self, spec, fields, file):
        source = SourceFile(spec.name, file)
        if source.size is not None:
            fields = {**fields, "progress_hint": source.size}
        failures = []
        call = self._connection.upload(spec.service, spec.rpc, self._requests(spec, fields, source, failures))
        try:
            if self._events.wanted:
                with self._events.lock:
                    self._events.during(call)
            else:
                call.result()
        except grpc.RpcError:
            if failures:
                raise failures[0] from None
            raise
        except BaseException:
            call.cancel()
            raise
        finally:
            source.close()

    @staticmethod
    def _requests(spec, fields, source, failures):
        """The messages of an upload. gRPC only reports that the iteration failed, not how."""
        request = message_class(f"{spec.rpc}Request")
        try:
            yield request(arguments=fields)
            for piece in source.pieces():
                yield request(chunk=piece)
        except Exception as error:
            failures.append(error)
            raise

    # What libguestfs does in the caller's process.

    def copy_in(self, localpath, remotedir):
        """Copies a local file or directory, with all that is in it, into a directory of the guest."""
        self._check_not_closed()
        self._failing("copy_in", lambda: _local_copies.copy_in(self, localpath, remotedir))

    def copy_out(self, remotepath, localdir):
        """Copies a file or directory of the guest, with all that is in it, into a local directory."""
        self._check_not_closed()
        self._failing("copy_out", lambda: _local_copies.copy_out(self, remotepath, localdir))

    def parse_environment(self):
        """Takes settings from this program's environment: LIBGUESTFS_DEBUG, LIBGUESTFS_TRACE and LIBGUESTFS_MEMSIZE.

        The other variables of libguestfs concern the machine that runs the appliance: set them for the server.
        """
        self._check_not_closed()
        self._take_settings(os.environ)

    def parse_environment_list(self, environment):
        """Takes settings from a list of strings NAME=value.

        LIBGUESTFS_DEBUG, LIBGUESTFS_TRACE and LIBGUESTFS_MEMSIZE are set here; lists with other variables of libguestfs
        are for the server, which must allow them.
        """
        self._check_not_closed()
        environment = list(environment)
        own = ("LIBGUESTFS_DEBUG", "LIBGUESTFS_TRACE", "LIBGUESTFS_MEMSIZE")
        settings = dict(entry.split("=", 1) for entry in environment if "=" in entry)
        if any(name.startswith("LIBGUESTFS_") and name not in own for name in settings):
            super().parse_environment_list(environment)
        else:
            self._take_settings(settings)

    def _take_settings(self, settings):
        for name, method in (("LIBGUESTFS_TRACE", self.set_trace), ("LIBGUESTFS_DEBUG", self.set_verbose)):
            if settings.get(name):
                method(_boolean(name, settings[name]))
        memsize = settings.get("LIBGUESTFS_MEMSIZE")
        if memsize:
            if not memsize.isdigit():
                raise GuestfsError(f"LIBGUESTFS_MEMSIZE: {memsize!r} is not a number", 22, "EINVAL")
            self.set_memsize(int(memsize))

    def add_libvirt_dom(self, dom, readonly=None, iface=None, live=None, readonlydisk=None, cachemode=None, discard=None,
                        copyonread=None):
        """Adds every disk of a libvirt domain: an object of libvirt's binding, or the domain's name or UUID.

        The server asks its own libvirt about the domain, through the connection that the object has, by its UUID.
        """
        if not hasattr(dom, "UUIDString"):
            return super().add_libvirt_dom(dom, readonly, iface, live, readonlydisk, cachemode, discard, copyonread)
        spec = SPECS["add_domain"]._replace(name="add_libvirt_dom")
        return self._call(spec, (dom.UUIDString(),), (dom.connect().getURI(), readonly, iface, live, True, readonlydisk,
                                                      cachemode, discard, copyonread))

    def set_backend_settings(self, settings):
        """Replaces the backend settings: a list of str, or one str.

        libguestfs takes one str for the list of its characters, which has no effect. OpenStack's nova passes "force_tcg".
        """
        super().set_backend_settings([settings] if isinstance(settings, str) else settings)

    def set_trace(self, trace):
        """Enables or disables trace messages; without a callback for them, they go to standard error."""
        super().set_trace(trace)
        self._failing("set_trace", lambda: self._events.print_unhandled(EVENT_TRACE, bool(trace)))

    def set_verbose(self, verbose):
        """Enables or disables verbose messages; without a callback for them, they go to standard error."""
        super().set_verbose(verbose)
        self._failing("set_verbose",
                      lambda: self._events.print_unhandled(EVENT_APPLIANCE | EVENT_LIBRARY, bool(verbose)))


def _with_hint(name):
    """An action that attaches a drive: its error says what to do about a file that only the client has."""
    plain = getattr(Actions, name)

    def method(self, filename, *args, **optargs):
        try:
            return plain(self, filename, *args, **optargs)
        except GuestfsError as error:
            if error.reason not in _NOT_SEEN or self._local or not os.path.exists(filename):
                raise
            hint = (f"{error}; {filename} exists on this machine, but drives are files of the server "
                    f"({self._connection.address}): copy it into one of the server's image roots and give its path "
                    "there, or create an image there (disk_create, add_drive, launch) and upload the content to /dev/sda")
            failure = GuestfsError(hint, error.errno, error.reason, error.action, error.code, error.metadata,
                                   error.retry_after)
            self._last_error = failure  # pylint: disable=protected-access
            raise failure from None

    method.__name__ = name
    method.__doc__ = plain.__doc__
    method.__wrapped__ = plain
    return method


for _name in ("add_drive", "add_drive_ro", "add_cdrom", "add_drive_with_if", "add_drive_ro_with_if"):
    setattr(GuestFS, _name, _with_hint(_name))
GuestFS.add_drive_opts = GuestFS.add_drive
