"""Errors, as the users of libguestfs's own binding know them: RuntimeError, with the library's text."""
import errno as errnos

import grpc

from ._messages import message_class

DETAILS_KEY = "grpc-status-details-bin"


class ClosedHandle(ValueError):
    """A method was called on a handle that is closed."""


class GuestfsError(RuntimeError):
    """A call that failed.

    `errno` is the number of the errno, or 0 if the error has none; `reason` its name, or one of the service's own reasons,
    such as IMAGE_LOCKED; `action` the action that failed; `code` the status of gRPC; `metadata` further facts.
    `retry_after` is a number of seconds if nothing was done and the same call can succeed later, else None.
    """

    def __init__(self, message, errno=0, reason="", action=None, code=None, metadata=None, retry_after=None):
        super().__init__(message)
        self.errno = errno
        self.reason = reason
        self.action = action
        self.code = code
        self.metadata = metadata or {}
        self.retry_after = retry_after


class ConnectionLost(GuestfsError):
    """The connection to the server was lost: the handle can only be closed."""


def _detail(error, name):
    """One of the details that the service sent with a status; None if there is none."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            status = message_class("Status", "google.rpc").FromString(value)
            for detail in status.details:
                if detail.type_url.endswith(f"/google.rpc.{name}"):
                    return message_class(name, "google.rpc").FromString(detail.value)
    return None


def error_info(error):
    """The ErrorInfo that the service sent with a status; None if the status is gRPC's own."""
    return _detail(error, "ErrorInfo")


def _retry_after(error):
    """The seconds in the RetryInfo of an error; None if it has none."""
    info = _detail(error, "RetryInfo")
    return None if info is None else info.retry_delay.seconds + info.retry_delay.nanos / 1e9


_ERRNOS = {
    "ACTION_NOT_IN_DAEMON": errnos.ENOSYS,
    "BAD_ARGUMENT": errnos.EINVAL,
    "CANCELLED": errnos.EINTR,
    "DEADLINE_EXCEEDED": errnos.ETIMEDOUT,
    "GROUP_NOT_AVAILABLE": errnos.ENOTSUP,
    "IMAGE_MISSING": errnos.ENOENT,
    "MESSAGE_TOO_LARGE": errnos.EMSGSIZE,
    "NOT_ALLOWED": errnos.EPERM,
    "NOT_OVER_NETWORK": errnos.ENOTSUP,
    "OUTSIDE_IMAGE_ROOTS": errnos.EACCES,
    "OUT_OF_MEMORY": errnos.ENOMEM,
}
"""The errnos of the service's own reasons, as far as there are suitable ones."""


def _with_action(action, text):
    """The library's errors begin with the action; those that begin with it already are left as they are."""
    return text if action is None or text.startswith((f"{action}:", f"{action} ")) else f"{action}: {text}"


def errno_of(reason):
    """The number of an errno's name, or of one of the service's reasons; 0 if there is none."""
    return _ERRNOS.get(reason) or (getattr(errnos, reason, 0) if reason.startswith("E") else 0)


def from_rpc_error(error, action, server):
    """The exception for a failed RPC: of the service, or of the connection."""
    info = error_info(error)
    code = error.code()
    details = error.details() or ""
    if info is not None:
        return GuestfsError(_with_action(action, details), errno_of(info.reason), info.reason, action, code,
                            dict(info.metadata), _retry_after(error))
    if code == grpc.StatusCode.UNAVAILABLE:
        return ConnectionLost(_with_action(action, f"no connection to the guestfs-grpc server at {server}: {details}"),
                              errnos.ECONNRESET, "", action, code)
    if code == grpc.StatusCode.UNIMPLEMENTED:
        return GuestfsError(_with_action(action, f"the server at {server} does not have this call: {details}; it may be "
                                                 "older than this client, or no guestfs-grpc server"),
                            errnos.ENOTSUP, "", action, code)
    return GuestfsError(_with_action(action, f"{code.name}: {details}"), 0, "", action, code)


def from_os_error(error, action, name):
    """The exception for a local file that cannot be used."""
    return GuestfsError(f"{action}: {name}: {error.strerror or error}", error.errno or 0,
                        errnos.errorcode.get(error.errno, ""), action)
