"""A server with scripted answers, in this process: what the client sends and how it takes answers, without appliances."""
from concurrent import futures

import grpc

from guestfs_grpc._messages import PACKAGE, message_class


class Failure(Exception):
    """An answer that is an error, with the details of the service."""

    def __init__(self, code, text, reason=None, retry_after=None, **metadata):
        super().__init__(text)
        self.code, self.text, self.reason, self.metadata = code, text, reason, metadata
        self.retry_after = retry_after

    def trailers(self):
        """The trailing metadata."""
        if self.reason is None:
            return ()
        info = message_class("ErrorInfo", "google.rpc")(reason=self.reason, domain="guestfs")
        info.metadata.update(self.metadata)
        status = message_class("Status", "google.rpc")()
        details = [("ErrorInfo", info)]
        if self.retry_after is not None:
            retry = message_class("RetryInfo", "google.rpc")()
            retry.retry_delay.seconds = int(self.retry_after)
            retry.retry_delay.nanos = round(self.retry_after % 1 * 1e9)
            details.append(("RetryInfo", retry))
        for name, message in details:
            detail = status.details.add()
            detail.type_url = f"type.googleapis.com/google.rpc.{name}"
            detail.value = message.SerializeToString()
        return (("grpc-status-details-bin", status.SerializeToString()),)


class FakeServer(grpc.GenericRpcHandler):
    """Answers by `answers[rpc]`: a function of the request, or of the list of requests of an upload.

    It returns the fields of the response, or a list of them for a stream, or raises a Failure; bytes are sent as they are.
    `requests` has what was sent, `sessions` the session of each call, `ids` its request ID.
    """

    UPLOADS = ("Upload", "TarIn")
    STREAMS = ("Ls", "Download", "Subscribe", "TarOut")

    def __init__(self):
        self.answers = {
            "CreateSession": lambda request: {"id": "s1", "session": {"id": "s1", "server_version": "0.1.0"}},
            "DeleteSession": lambda request: {},
            "SetProgram": lambda request: {},
        }
        self.requests = []
        self.sessions = []
        self.ids = []
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self):
        """Ends it at once."""
        self._server.stop(0).wait()

    def sent(self, rpc):
        """The requests of one RPC."""
        return [request for name, request in self.requests if name == rpc]

    def service(self, handler_call_details):
        rpc = handler_call_details.method.rsplit("/", 1)[1]
        if rpc not in self.answers or not handler_call_details.method.startswith(f"/{PACKAGE}."):
            return None
        request_class, response_class = message_class(f"{rpc}Request"), message_class(f"{rpc}Response")

        def answer(request, context):
            metadata = dict(context.invocation_metadata())
            self.sessions.append(metadata.get("guestfs-session"))
            self.ids.append(metadata.get("guestfs-request-id"))
            try:
                self.requests.append((rpc, request))
                return self.answers[rpc](request)
            except Failure as failure:
                context.set_trailing_metadata(failure.trailers())
                context.abort(failure.code, failure.text)

        def message(fields):
            return fields if isinstance(fields, bytes) else response_class(**fields).SerializeToString()

        def unary(request, context):
            return message(answer(request, context))

        def stream(request, context):
            responses = answer(request, context)
            context.send_initial_metadata(())
            for fields in responses:
                yield message(fields)

        def upload(requests, context):
            return message(answer(list(requests), context))

        kind, behaviour = ((grpc.stream_unary_rpc_method_handler, upload) if rpc in self.UPLOADS else
                           (grpc.unary_stream_rpc_method_handler, stream) if rpc in self.STREAMS else
                           (grpc.unary_unary_rpc_method_handler, unary))
        return kind(behaviour, request_deserializer=request_class.FromString)
