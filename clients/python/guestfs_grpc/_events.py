"""Event callbacks, called as libguestfs calls them: by the thread that makes a call, before the call returns."""
import queue
import sys
import threading
import traceback

import grpc

EVENT_CLOSE = 0x1
EVENT_SUBPROCESS_QUIT = 0x2
EVENT_LAUNCH_DONE = 0x4
EVENT_PROGRESS = 0x8
EVENT_APPLIANCE = 0x10
EVENT_LIBRARY = 0x20
EVENT_TRACE = 0x40
EVENT_ENTER = 0x80
EVENT_LIBVIRT_AUTH = 0x100
EVENT_WARNING = 0x200
EVENT_ALL = 0x3ff

_NAMES = ("close", "subprocess_quit", "launch_done", "progress", "appliance", "library", "trace", "enter",
          "libvirt_auth", "warning")
_TYPES = {1: EVENT_CLOSE, 2: EVENT_SUBPROCESS_QUIT, 3: EVENT_LAUNCH_DONE, 4: EVENT_PROGRESS, 5: EVENT_APPLIANCE,
          6: EVENT_LIBRARY, 7: EVENT_TRACE, 8: EVENT_ENTER, 9: EVENT_WARNING}
"""The numbers of the service's EventType, and libguestfs's bits for them."""

QUEUE_LENGTH = 4096
"""Events that wait for a callback; the service counts and drops those that do not fit."""
MARKER = "get_pgroup"
"""A call whose ENTER event shows that the events of all earlier calls have arrived."""
MARKER_SECONDS = 10

_ESCAPES = {0xEF00 + byte: 0xDC00 + byte for byte in range(0x80, 0x100)}
"""The service's code points for bytes that are not UTF-8, and Python's."""

_WAKE = object()
_END = object()


def event_to_string(events):
    """Return a printable string from an event or event bitmask"""
    return ",".join(name for bit, name in enumerate(_NAMES) if events & (1 << bit))


def text_bytes(text):
    """The bytes of a text of the service."""
    return text.translate(_ESCAPES).encode("utf-8", "surrogateescape")


class Events:
    """The callbacks of one handle, and its subscription to the session's events."""

    def __init__(self, subscribe, marker):
        """`subscribe(types)` opens the stream of events; `marker()` makes the call that MARKER names."""
        self._subscribe = subscribe
        self._marker = marker
        self._callbacks = {}
        self._next = 0
        self._types = frozenset()
        self._stream = None
        self._queue = queue.Queue(QUEUE_LENGTH)
        self._to_stderr = 0
        self._marked = False
        self._hidden_traces = 0
        self.lock = threading.RLock()
        self._running = False

    def add(self, callback, events):
        """Registers a callback; returns its handle."""
        if not callable(callback):
            raise TypeError("callback parameter is not callable (eg. lambda or function)")
        if not isinstance(events, int):
            raise TypeError(f"event_bitmask must be int, not {type(events).__name__}")
        handle = self._next
        self._next += 1
        self._callbacks[handle] = (callback, events)
        try:
            self._resubscribe()
        except BaseException:
            # One that cannot get its events is not registered.
            del self._callbacks[handle]
            raise
        return handle

    def delete(self, handle):
        """Removes a callback; one that does not exist is no error, as in libguestfs."""
        if not isinstance(handle, int):
            raise TypeError(f"event_handle must be int, not {type(handle).__name__}")
        self._callbacks.pop(handle, None)
        self._resubscribe()

    def print_unhandled(self, events, enabled):
        """Prints such events to standard error if no callback takes them, as libguestfs does with messages."""
        self._to_stderr = self._to_stderr | events if enabled else self._to_stderr & ~events
        self._resubscribe()

    @property
    def wanted(self):
        """Whether the service has to send events."""
        return self._stream is not None

    def _resubscribe(self):
        bits = self._to_stderr
        for _, events in self._callbacks.values():
            bits |= events
        types = frozenset(number for number, bit in _TYPES.items() if bits & bit & ~EVENT_CLOSE)
        if types == self._types or (types and types <= self._types):
            return
        # ENTER is the type of the marker. The subscription so far stays if a wider one is refused.
        stream = self._subscribe(sorted(types | {8})) if types else None
        self._unsubscribe()
        if stream is not None:
            self._stream, self._types = stream, types
            threading.Thread(target=self._read, args=(self._stream, self._queue), daemon=True,
                             name="guestfs-events").start()

    def _unsubscribe(self):
        if self._stream is None:
            return
        stream, self._stream = self._stream, None
        self._types = frozenset()
        self._queue = queue.Queue(QUEUE_LENGTH)
        stream.cancel()

    @staticmethod
    def _read(stream, events):
        """Runs in its own thread: reads until the stream ends."""
        try:
            for event in stream:
                events.put(event)
        except grpc.RpcError:
            # The stream ends with the session, or with the connection, which the next call reports.
            pass
        events.put(_END)

    def during(self, future):
        """Calls callbacks until a call has ended, and for all events that it has caused."""
        if self._running:
            # Called by a callback: the call that waits delivers the events.
            return future.result()
        self._running = True
        try:
            events = self._queue
            future.add_done_callback(lambda _: events.put(_WAKE))
            while True:
                event = events.get()
                if event is _WAKE:
                    break
                if event is _END:
                    self._stream_ended(events)
                    break
                self._dispatch(event)
            self.settle()
            return future.result()
        finally:
            self._running = False

    def poll(self):
        """Calls callbacks for the events that have arrived."""
        if self._running:
            return
        self._running = True
        try:
            while True:
                event = self._queue.get_nowait()
                if event is _END:
                    self._stream_ended(self._queue)
                    return
                if event is not _WAKE:
                    self._dispatch(event)
        except queue.Empty:
            return
        finally:
            self._running = False

    def settle(self):
        """Calls callbacks for all events of the calls that have ended."""
        events = self._queue
        if self._stream is None:
            return
        self._marked = False
        try:
            self._marker()
        except grpc.RpcError:
            # The connection is lost, or the session has ended: no more events will come.
            return
        while not self._marked:
            try:
                event = events.get(timeout=MARKER_SECONDS)
            except queue.Empty:
                # A service that is overloaded has dropped the marker's event, as others.
                return
            if event is _END:
                self._stream_ended(events)
                return
            if event is not _WAKE:
                self._dispatch(event)

    def _stream_ended(self, events):
        if events is self._queue:
            self._stream = None
            self._types = frozenset()

    def _dispatch(self, event):
        bit = _TYPES.get(event.type)
        if bit is None:
            return
        if bit == EVENT_ENTER:
            self._hidden_traces = 0
            if event.message == MARKER and not self._marked:
                self._marked = True
                self._hidden_traces = 2
                return
        if bit == EVENT_TRACE and self._hidden_traces > 0 and event.message.split(" ")[0] == MARKER:
            self._hidden_traces -= 1
            return
        if bit != EVENT_CLOSE:
            has_message = event.WhichOneof("detail") == "message"
            self._deliver(bit, text_bytes(event.message) if has_message else None, self._numbers(event))

    @staticmethod
    def _numbers(event):
        if event.type != 4:
            return []
        progress = event.progress
        return [progress.procedure, progress.serial, progress.position, progress.total]

    def _deliver(self, bit, message, numbers):
        handled = False
        for handle, (callback, events) in list(self._callbacks.items()):
            if events & bit and handle in self._callbacks:
                handled = True
                try:
                    callback(bit, handle, message, list(numbers))
                except Exception:  # pylint: disable=broad-except
                    # As libguestfs's binding does: a callback that fails does not end the call.
                    traceback.print_exc()
        if not handled and bit & self._to_stderr:
            self._print(bit, message)

    @staticmethod
    def _print(bit, message):
        prefix = {EVENT_TRACE: b"libguestfs: trace: ", EVENT_LIBRARY: b"libguestfs: ",
                  EVENT_WARNING: b"libguestfs: warning: "}.get(bit, b"")
        text = prefix + (message or b"") + (b"" if bit == EVENT_APPLIANCE else b"\n")
        sys.stderr.write(text.decode("utf-8", "backslashreplace"))

    def close(self, end):
        """Announces the end to callbacks, ends the session by `end()`, and delivers what is left."""
        self._deliver(EVENT_CLOSE, None, [])
        try:
            end()
        finally:
            if self._stream is not None:
                self._drain()
            self._unsubscribe()

    def _drain(self):
        """The stream ends with the session."""
        while True:
            try:
                event = self._queue.get(timeout=MARKER_SECONDS)
            except queue.Empty:
                return
            if event is _END:
                return
            if event is not _WAKE:
                self._dispatch(event)
