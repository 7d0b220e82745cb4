"""
Connections as a server has to treat them that anybody may open.

Uvicorn waits for ever for the rest of a request of which a byte is there: a few hundred
who begin one and no more would shut all others out.
"""

from asyncio import BaseTransport, TimerHandle, Transport
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol


class PatientProtocol(H11Protocol):
    """
    HTTP/1.1, whose requests have to be there some seconds after they could begin.

    Those are uvicorn's ``timeout_keep_alive``, which it counts from each answer and
    forgets with the next byte. Here they also count from the connection, and only a
    whole head ends them.
    """

    def connection_made(self, transport: BaseTransport) -> None:
        """Count from now on."""
        super().connection_made(cast("Transport", transport))
        self.timeout_keep_alive_task: TimerHandle | None = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def data_received(self, data: bytes) -> None:
        """Take what came; where that is a whole head, uvicorn stops to count by itself."""
        self.conn.receive_data(data)
        self.handle_events()
