"""A connection that can be cut: what is sent to `address` arrives at a server, until `cut()`."""
import socket
import threading


class Relay:
    """Passes on the connections to a server that is given as `host:port`."""

    def __init__(self, server):
        host, _, port = server.rpartition(":")
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        try:
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                for source, destination in ((client, server), (server, client)):
                    threading.Thread(target=self._copy, args=(source, destination), daemon=True).start()
        except OSError:
            # The end of the listener.
            return

    @staticmethod
    def _copy(source, destination):
        try:
            while piece := source.recv(65536):
                destination.sendall(piece)
            destination.shutdown(socket.SHUT_WR)
        except OSError:
            # The connection has been cut.
            return

    def cut(self):
        """Ends all connections; no new ones are accepted."""
        for one in (self._listener, *self._sockets):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                # Its other side has ended it already.
                pass
            one.close()
