"""
Connections as a server has to treat them that anybody may open.

Uvicorn waits for ever for the rest of a request of which a byte is there, and for an
answer to be taken: a few hundred who begin one and no more, or who read nothing, would
shut all others out.
"""

import socket
from asyncio import BaseTransport, TimerHandle, Transport
from typing import Final, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

# Seconds in which something has to be taken of what is to be sent. More than a request
# has: a telephone may lose its network for a while.
_PATIENCE: Final = 20.0

# Bytes that the system keeps of what is to be sent; Linux doubles it. By itself it keeps up
# to 4 MiB, and takes more only when a third of that is gone: of who reads 50 kB a second
# nothing would be seen for longer than the patience lasts.
_SEND_BUFFER: Final = 64 * 1024


class PatientProtocol(H11Protocol):
    """
    HTTP/1.1, whose requests have to be there some seconds after they could begin.

    Those are uvicorn's ``timeout_keep_alive``, which it counts from each answer and
    forgets with the next byte. Here they also count from the connection, and only a
    whole head ends them. And of whose answers nothing is taken for a while is hung up on.
    """

    def connection_made(self, transport: BaseTransport) -> None:
        """Count from now on."""
        opened = cast("Transport", transport)
        # We are told as soon as anything waits to be taken; also of the last answer, whose
        # connection would else be closed only when all of it is taken.
        opened.set_write_buffer_limits(high=0)
        _keep_little(opened)
        self._left = 0
        self._look: TimerHandle | None = None
        super().connection_made(opened)
        self.timeout_keep_alive_task: TimerHandle | None = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._look_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; where that is a whole head, uvicorn stops to count by itself."""
        self.conn.receive_data(data)
        self.handle_events()

    def pause_writing(self) -> None:
        """Something waits to be taken."""
        super().pause_writing()
        self._look_later()

    def resume_writing(self) -> None:
        """All of it was taken."""
        self._look_no_more()
        super().resume_writing()

    def _look_later(self) -> None:
        self._left = self.transport.get_write_buffer_size()
        self._look = self.loop.call_later(_PATIENCE, self._look_again)

    def _look_again(self) -> None:
        # Meanwhile nothing is added: who writes waits.
        if self.transport.get_write_buffer_size() < self._left:
            self._look_later()
        else:
            self.transport.abort()

    def _look_no_more(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None


def _keep_little(transport: Transport) -> None:
    """Have the system keep little of what is sent, so that one sees what is taken of it."""
    opened: socket.socket | None = transport.get_extra_info("socket")

    if opened is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
