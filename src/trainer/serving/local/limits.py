"""How much a client may send, and how long it may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one server. The time for a head or a body counts from its beginning, however often bytes come.

    `idle_s` is how long a connection may stay open without a request, `write_s` how long a client may take to receive
    an answer, and `linger_s` how long the rest of a refused request is read, so the client sees the refusal.
    `backlog_bytes` is how much of a stream is kept for a client that reads slowly.
    """

    n_connections: int = 256
    head_bytes: int = 64 * 2**10
    body_bytes: int = 4 * 2**20
    backlog_bytes: int = 2**20
    idle_s: float = 15.0
    head_s: float = 10.0
    body_s: float = 30.0
    write_s: float = 10.0
    linger_s: float = 2.0
