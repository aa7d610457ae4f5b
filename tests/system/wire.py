# SPDX-License-Identifier: MIT
"""A TCP connection that can be cut, made deaf or dead, and led elsewhere."""
import socket
import threading

from harness import free_port


class Wire:
    """Listens on `port` and hands every connection on to `target` (a port). For tests that break connections."""

    def __init__(self, target):
        self.target = target
        self.is_deaf = False  # what the server says gets lost from now on
        self.is_dead = False  # nothing gets through, in no direction
        self._links = []
        self._lock = threading.Lock()
        self.port = free_port()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()  # as a balancer without a server does
                continue
            with self._lock:
                self._links.append((client, server))
            for source, goal, is_answer in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=(source, goal, is_answer), daemon=True).start()

    def _pump(self, source, goal, is_answer):
        try:
            while data := source.recv(65536):
                if not (self.is_dead or is_answer and self.is_deaf):
                    goal.sendall(data)
        except OSError:
            pass  # cut
        finally:
            for end in (source, goal):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # the other direction was first

    def cut(self):
        """Ends all connections without a close frame; new ones are taken, and heard again."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            for end in link:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # ended already
                end.close()
        self.is_deaf = self.is_dead = False

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
