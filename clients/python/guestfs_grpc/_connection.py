"""The connection to a server: addresses, credentials, and the calls of gRPC."""
import os
import uuid

import grpc
import grpc.experimental

from ._errors import GuestfsError
from ._messages import PACKAGE, message_class

SESSION_KEY = "guestfs-session"
REQUEST_ID_KEY = "guestfs-request-id"
"""A call that a proxy repeats, or gRPC itself, is recognised by it, and made once."""
ANSWER_LIMIT = 8 * 1024 * 1024
"""Some answers of daemons are close to gRPC's default limit of 4 MiB."""

_OPTIONS = (
    ("grpc.max_receive_message_length", ANSWER_LIMIT),
    # A server that is gone without a word, as after a power cut, is noticed.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Each handle has its own connection, so that closing one does not disturb the others.
    ("grpc.use_local_subchannel_pool", 1),
    # The thread that makes a call reads its answers. Another thread for each stream takes longer than a short list does.
    (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),
)


def _read(variable):
    name = os.environ.get(variable)
    if not name:
        return None
    try:
        with open(name, "rb") as file:
            return file.read()
    except OSError as error:
        raise ValueError(f"{variable}: {name}: {error.strerror}") from error


def _credentials_of_environment():
    return grpc.ssl_channel_credentials(_read("GUESTFS_GRPC_CA"), _read("GUESTFS_GRPC_KEY"),
                                        _read("GUESTFS_GRPC_CERT"))


def parse_address(address):
    """The target for gRPC, and whether to use TLS, of `host:port`, `unix:/path` or `tls:host:port`."""
    if not isinstance(address, str):
        raise TypeError(f"the server's address must be str, not {type(address).__name__}")
    if address.startswith("unix:"):
        path = address[len("unix:"):]
        if not path.startswith("/"):
            raise ValueError(f"{address}: the path of a Unix socket must be absolute")
        return address, False
    tls = address.startswith("tls:")
    target = address[len("tls:"):] if tls else address
    host, colon, port = target.rpartition(":")
    if not (colon and host and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{address!r} is not the address of a server: host:port, tls:host:port or unix:/path")
    return f"dns:///{target}", tls


class Connection:
    """One connection, and a session's metadata."""

    def __init__(self, address, credentials=None, token=None):
        target, tls = parse_address(address)
        self.address = address
        self._credentials = credentials
        self._token = token
        if credentials is None and tls:
            credentials = _credentials_of_environment()
        if credentials is None:
            self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        else:
            self._channel = grpc.secure_channel(target, credentials, options=_OPTIONS)
        token = token or os.environ.get("GUESTFS_GRPC_TOKEN")
        self.metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._stubs = {}

    def elsewhere(self, endpoint):
        """A connection to another replica of the service, with the same credentials."""
        # What a server on the network says must not lead to a socket of this machine.
        if endpoint.startswith("unix:") and not self.address.startswith("unix:"):
            raise GuestfsError(f"the server at {self.address} names a local socket as another replica: {endpoint}")
        return Connection(f"tls:{endpoint}" if self.address.startswith("tls:") else endpoint, self._credentials,
                          self._token)

    def name_session(self, session_id):
        """From now on, calls name this session."""
        self.metadata += ((SESSION_KEY, session_id),)

    def _metadata(self):
        """The metadata of one call, with a request ID of its own."""
        return self.metadata + ((REQUEST_ID_KEY, str(uuid.uuid4())),)

    def _stub(self, kind, service, rpc):
        found = self._stubs.get((service, rpc))
        if found is None:
            request, response = message_class(f"{rpc}Request"), message_class(f"{rpc}Response")
            stub = getattr(self._channel, kind)(f"/{PACKAGE}.{service}/{rpc}",
                                                request_serializer=request.SerializeToString,
                                                response_deserializer=response.FromString)
            found = self._stubs[service, rpc] = (stub, request)
        return found

    def unary(self, service, rpc, fields, timeout=None):
        """Makes a call with one request and one response."""
        stub, request = self._stub("unary_unary", service, rpc)
        return stub(request(**fields), metadata=self._metadata(), timeout=timeout)

    def unary_future(self, service, rpc, fields):
        """The same, without waiting."""
        stub, request = self._stub("unary_unary", service, rpc)
        return stub.future(request(**fields), metadata=self._metadata())

    def stream(self, service, rpc, fields):
        """Makes a call that is answered with a stream."""
        stub, request = self._stub("unary_stream", service, rpc)
        return stub(request(**fields), metadata=self._metadata())

    def watch(self, service, rpc, fields):
        """Makes such a call whose stream another thread reads."""
        # The service cannot tell it from a call that sends a stream of one request. Such calls gRPC reads in a thread of
        # its own, so that the refusal of a call is noticed before its first answer is read.
        stub, request = self._stub("stream_stream", service, rpc)
        return stub(iter((request(**fields),)), metadata=self._metadata())

    def upload(self, service, rpc, requests):
        """Makes a call that takes a stream, without waiting."""
        stub, _ = self._stub("stream_unary", service, rpc)
        return stub.future(requests, metadata=self._metadata())

    def close(self):
        """Closes the connection."""
        self._channel.close()
