"""One connection of a client: uvicorn's protocol, with a limit on every size and every wait.

uvicorn and its parser take a head of any length, wait for one for ever, and wait for ever for a client that does not
read. Here each of these ends (S145, S146).
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from drystone.api.admission import PROVEN, Admission, Place

HEAD_BYTES_MAX: Final = 64 << 10
HEAD_LINES_MAX: Final = 128
"""Clients send a dozen headers; each costs the parser and us an object of its own."""
HEAD_S_MAX: Final = 15.0
"""From the connection, or from the first byte after an answer, to the end of the head; with TLS's handshake."""
FRAMING_BYTES_MAX: Final = 64 << 10
"""What a body may have beside its bytes: lengths of chunks, trailers."""
PIPELINED_MAX: Final = 4
"""Requests that were sent before their turn; no client of CBS does that."""
IDLE_S: Final = 75
"""How long a connection may rest between calls."""
DRAIN_S_MAX: Final = 5.0
DRAIN_BYTES_MAX: Final = 16 << 20
"""What is still taken of a request that was answered already, so that its client comes to read the answer."""
STOP_S: Final = 5.0
"""What a client gets to take its last answer when the server stops: less than the server then waits for all."""
UNREAD_S: Final = 15.0
READ_BYTES_MIN: Final = 128 << 10
"""A client reads at least so much of a waiting answer in so long, or all of it."""
_SLICE: Final = 16 << 10
"""How exactly a head is measured: the parser is fed so much at a time."""


class _RefusedError(Exception):
    """A request that ends its connection, with a status and a line that says why."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.answer = plain_answer(status, text)


def plain_answer(status: str, text: str) -> bytes:
    """Return a whole answer that closes the connection."""
    body = f"{text}\n".encode()
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {len(body)}\r\n"
        f"connection: close\r\n\r\n"
    ).encode() + body


class Connection(HttpToolsProtocol):
    """Serves one connection.

    Args:
        place: The connection's place, if it has one already (TLS).
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop | None,
        *,
        admission: Admission,
        place: Place | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self._admission = admission
        self._place = place
        self._deadline: asyncio.TimerHandle | None = None
        self._ending = False
        """Whether the connection is closed but for what its client has not read."""
        self._verified = False
        """Whether the sender of the call under way is."""
        self._in_head = True
        self._message_open = False
        """Whether a request has begun and not ended."""
        self._began = False
        """Whether one began in the slice that is being parsed."""
        self._extra_bytes = 0
        """What the request has so far beside its body: of its head, then of its body's framing."""
        self._body_bytes = 0
        self._drained_bytes = 0

    # --- the connection -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, if there is a place."""
        super().connection_made(transport)
        if self._place is None:
            self._place = self._admission.enter(self.client[0] if self.client else "", transport.abort)
        if self._place is None:
            transport.abort()
            return
        self._wait(HEAD_S_MAX, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._stop_waiting()
        if self._place is not None:
            self._admission.leave(self._place)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Parse what came, by slices, and end the connection where a limit is passed."""
        if self.transport.is_closing() or self._place is None:
            return
        begins = not self._message_open and not self._in_head
        if begins:
            # The first byte after an answer.
            self._in_head, self._extra_bytes = True, 0
        for start in range(0, len(data), _SLICE):
            self._parse(data[start : start + _SLICE])
            if self.transport.is_closing():
                self._wait_for_the_end()
                return
        # Most heads come whole: they need no timer.
        if begins and self._in_head and self._answered:
            self._wait(HEAD_S_MAX, self._head_is_late)

    def shutdown(self) -> None:
        """End after what is under way."""
        # asyncio's TLS transport answers nothing any more once it was closed twice.
        if not self.transport.is_closing():
            super().shutdown()
        if self.transport.is_closing():
            self._ending = True
            self._wait(STOP_S, self.transport.abort)

    def pause_writing(self) -> None:
        """Wait for the client to read, but not for ever."""
        super().pause_writing()
        if not self._ending:
            self._wait_for_reader()

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop_waiting()
            self._after_answer()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that rested too long."""
        super().timeout_keep_alive_handler()
        self._wait_for_the_end()

    # --- the parser ---------------------------------------------------------------------------------------------------

    def _parse(self, piece: bytes) -> None:
        self._began = False
        fresh = not self._message_open
        body_before = self._body_bytes
        was_in_head = self._in_head
        try:
            super().data_received(piece)
            # A slice in which a second request begins is not counted against that one.
            if not self._began or fresh:
                self._measure(len(piece) - (self._body_bytes - body_before), was_in_head=was_in_head)
        except _RefusedError as refused:
            self._refuse(refused)

    def _measure(self, count: int, *, was_in_head: bool) -> None:
        """Count bytes that are not a body's.

        Raises:
            _RefusedError: A head, or a body's framing, is too long.
        """
        assert self._place is not None
        if self._in_head:
            self._extra_bytes += count
            self._admission.head_grew(self._place, count)
            if self._extra_bytes > HEAD_BYTES_MAX:
                raise _head_too_large()
        elif self._message_open and not was_in_head:
            self._extra_bytes += count
            if self._extra_bytes > FRAMING_BYTES_MAX:
                raise _RefusedError("400 Bad Request", "The body has more framing than bytes.")
        if self._message_open and self._answered:
            self._drained_bytes += count
            if self._drained_bytes > DRAIN_BYTES_MAX:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["extensions"] = {PROVEN: {"call": self._proven}}
        self._in_head = self._message_open = self._began = True
        self._extra_bytes = self._drained_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is left out, since nobody here reads one."""
        if self._in_head and len(self.headers) <= HEAD_LINES_MAX:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request."""
        assert self._place is not None
        self._in_head, self._extra_bytes = False, 0
        self._admission.head_ended(self._place)
        self._stop_waiting()
        if len(self.headers) > HEAD_LINES_MAX:
            self._refuse(_head_too_large())
            return
        if len(self.pipeline) >= PIPELINED_MAX:
            self._refuse(_RefusedError("400 Bad Request", f"More than {PIPELINED_MAX} requests wait for their turn."))
            return
        if self.transport.is_closing():
            return
        if self._answered:
            # Another call may run, before whose end this one does not begin.
            self._admission.waits(self._place)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._body_bytes += len(body)
        if self.transport.is_closing():
            return
        if self._answered:
            self._drained_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request has come in full."""
        self._message_open = False
        if self.transport.is_closing():
            return
        super().on_message_complete()
        if self._answered:
            self._stop_waiting()
            self._after_answer()

    # --- answers ------------------------------------------------------------------------------------------------------

    @property
    def _answered(self) -> bool:
        # There is none before the first request.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def on_response_complete(self) -> None:
        """Wait for what comes after an answer."""
        assert self._place is not None
        if not self._verified:
            self._admission.unproven(self._place)
        self._verified = False
        self._admission.waits(self._place)
        super().on_response_complete()
        self._after_answer()

    def _after_answer(self) -> None:
        if self.transport.is_closing():
            self._wait_for_the_end()
        elif not self._answered:
            pass
        elif self.flow.write_paused:
            pass  # The wait for its reader goes on.
        elif self._message_open and not self._in_head:
            self._unset_keepalive_if_required()
            self._wait(DRAIN_S_MAX, self.transport.abort)
        elif self._in_head:
            self._unset_keepalive_if_required()
            self._wait(HEAD_S_MAX, self._head_is_late)
        elif self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _proven(self, account: str) -> None:
        if self._place is not None:
            self._verified = True
            self._admission.proven(self._place, account)

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _refuse(self, refused: _RefusedError) -> None:
        if not self.transport.is_closing():
            # In the middle of an answer there is no room for another one.
            if self._answered:
                self.transport.write(refused.answer)
            self.transport.close()
        self._wait_for_the_end()

    def _head_is_late(self) -> None:
        self._refuse(_RefusedError("408 Request Timeout", f"The head did not arrive within {HEAD_S_MAX:g} s."))

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def _wait_for_the_end(self) -> None:
        if not self._ending:
            self._ending = True
            self._wait_for_reader()

    def _wait_for_reader(self) -> None:
        unread = self.transport.get_write_buffer_size()

        def look() -> None:
            if self.transport.get_write_buffer_size() + READ_BYTES_MIN > unread:
                self.transport.abort()
            else:
                self._wait_for_reader()

        self._wait(UNREAD_S, look)

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(seconds, then)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _head_too_large() -> _RefusedError:
    return _RefusedError(
        "431 Request Header Fields Too Large",
        f"The head is longer than {HEAD_BYTES_MAX} bytes, or has more than {HEAD_LINES_MAX} headers.",
    )
