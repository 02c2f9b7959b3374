"""What passes through a network interface, kept for a test to look at. Needs root; no other package."""

import socket
import struct
import threading

_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_STATISTICS = 263, 6


class Capture:
    """Keeps every frame of an interface of the test's namespace from start to stop."""

    def __init__(self, interface):
        self._frames = []
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), 256 << 20)
        self._socket.bind((interface, 0))
        self._socket.settimeout(0.2)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep)
        self._thread.start()

    def _keep(self):
        while not self._stopping.is_set():
            try:
                self._frames.append(self._socket.recv(1 << 17))
            except TimeoutError:
                continue

    def stop(self):
        """All that was seen, one frame behind the other; an error if the kernel had to drop any."""
        self._stopping.set()
        self._thread.join()
        _, dropped = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._socket.close()
        if dropped:
            raise AssertionError(f"{dropped} frames were not seen")
        return b"".join(self._frames)
