"""An unreliable network: a TCP proxy between two services that can delay or drop data and cut or reset connections."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from typing import Literal, get_args

Fault = Literal["delay", "drop", "reset", "half-close"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
CHUNK = 65_536
CHANCE = random.Random()  # if a thread changed the state of Python's own, a property test beside it would fail
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Proxy:
    """Forwards connections to the port `target`. `fault` is applied to them; None: nothing."""

    def __init__(self) -> None:
        self.target: int | None = None
        self.fault: Fault | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    @property
    def url(self) -> str:
        """The port it listens on."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def become(self, fault: Fault | None) -> None:
        """Apply this fault from now on; a reset also ends open connections."""
        self.fault = fault
        if fault == "reset":
            with self._lock:
                for each in list(self._open):
                    self._reset(each)

    def close(self) -> None:
        """Accept no more connections, and end open ones."""
        self._listener.close()
        with self._lock:
            for each in list(self._open):
                self._reset(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self.fault == "reset" or self.target is None:
            self._reset(client)
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
        except OSError:
            self._reset(client)
            return
        server.settimeout(None)
        with self._lock:
            self._open |= {client, server}
        back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
        back.start()
        self._pump(client, server)
        back.join()
        with self._lock:
            self._open -= {client, server}
        for each in (client, server):
            each.close()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        """Forward data until one side ends."""
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                fault = self.fault
                if fault == "delay":
                    time.sleep(CHANCE.uniform(0.1, 1.5))
                elif fault == "drop":
                    continue
                elif fault == "half-close":
                    sink.sendall(data[: len(data) // 2])
                    break
                sink.sendall(data)
        for each, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
            with contextlib.suppress(OSError):
                each.shutdown(how)

    def _reset(self, each: socket.socket) -> None:
        with contextlib.suppress(OSError):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            each.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            each.close()
