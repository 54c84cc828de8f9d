"""A port for a server that must be told which one to use."""

from __future__ import annotations

import socket


def reserve_port() -> socket.socket:
    """A socket that keeps a port of loopback for the server that is told to use it, until the socket is closed.

    It is bound, and does not listen. Linux gives its port to nobody who asks for any free one, and lets the server bind
    it too, since both allow their address to be used again. A port that is only looked up may be given to a server of
    another test meanwhile, which then gets this one's requests.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder
