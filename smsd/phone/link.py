"""One phone's WebSocket: bytes to the session's inputs, its effects to frames.

Nothing is decided here. Autobahn speaks RFC 6455; we add what it leaves out: receipts, a phone
that does not read, and the close codes that it keeps to itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.types import ConnectionRequest
from msgspec import UNSET
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from smsd.domain.errors import BadFrame, Problem
from smsd.domain.records import Ticket
from smsd.gateway.doorman import Caller, Newcomer
from smsd.gateway.visit import Identity
from smsd.phone.desk import Desk, Gateway
from smsd.phone.frames import Auth, GatewayFrame, SendSms, decode, encode
from smsd.phone.session import AUTH_WITHIN, Session

if TYPE_CHECKING:
    from smsd.phone.factory import LinkFactory

#: A phone that leaves more than this unread is dropped, not buffered for. Bytes.
UNREAD = 1 << 20
#: RFC 6455, 5.5: what a close frame may say.
REASON = 120
INTERNAL_ERROR = 1011


@implementer(IPushProducer)
class Link(WebSocketServerProtocol):
    """A phone's connection. ``who`` is None where the phone says it in an ``auth`` frame."""

    _log = Logger()
    factory: LinkFactory
    transport: Any

    def __init__(
        self, gateway: Gateway, address: str, who: Caller | Newcomer | None, identity: Identity
    ) -> None:
        super().__init__()
        self._who = who
        self._identity = identity
        self._desk = Desk(gateway, self, address)
        self._auth_timer: IDelayedCall | None = None
        self._unread = 0
        self.heard_at = 0.0
        self.writable = True

    @property
    def _session(self) -> Session:
        return self._desk.session

    # -- from the phone ------------------------------------------------------------------------

    def connectionMade(self) -> None:
        super().connectionMade()
        self.heard_at = self.factory.now()
        self.factory.links.add(self)
        self.transport.registerProducer(self, True)

    def onConnect(self, request: ConnectionRequest) -> None:
        """The doorman has judged the handshake already."""

    def onOpen(self) -> None:
        self._guarded(self._open)

    def _open(self) -> None:
        if self._who is None:
            self._auth_timer = self.factory.call_later(AUTH_WITHIN, self._session.time_out)
        else:
            self._session.knock()
            self._desk.enter(self._who, self._identity)

    def dataReceived(self, data: bytes) -> None:
        self.heard_at = self.factory.now()
        super().dataReceived(data)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self._guarded(lambda: self._hear(payload, isBinary))

    def _hear(self, payload: bytes, binary: bool) -> None:
        if binary:
            self._session.dismiss(BadFrame("Frames are text: one JSON object each."))
            return
        try:
            frame = decode(payload)
        except BadFrame as problem:
            self._session.stammer(problem, self.factory.now())
            return
        if isinstance(frame, Auth):
            self._session.auth(frame)
        else:
            self._session.speak(frame)

    def onPong(self, payload: bytes) -> None:
        if payload.isdigit() and len(payload) < 20:
            self._desk.receipt(int(payload))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.links.discard(self)
        if self._auth_timer is not None and self._auth_timer.active():
            self._auth_timer.cancel()
        super().connectionLost(reason)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self._guarded(lambda: self._session.lost(f"closed ({code})"))

    def _guarded(self, act: Callable[[], None]) -> None:
        """Autobahn swallows what is raised in its calls, or drops the reactor's connection."""
        try:
            act()
        except Exception:
            self._log.failure("a phone's session failed")
            self.sendCloseFrame(INTERNAL_ERROR, b"internal error")

    # -- to the phone --------------------------------------------------------------------------

    def send(self, frame: GatewayFrame) -> None:
        """Write a frame; a phone that does not read is dropped."""
        self._write(encode(frame))

    def push(self, tickets: Sequence[Ticket], mark: int) -> None:
        """Write tickets, and a ping behind them: its pong is their receipt."""
        for ticket in tickets:
            self._write(encode(self._frame(ticket)))
        self.sendPing(str(mark).encode())

    def _frame(self, ticket: Ticket) -> SendSms:
        ledger = self._desk.keeps_ledger
        return SendSms(
            ticket.id,
            ticket.to,
            ticket.body,
            ticket.sim,
            ticket.ref if ledger else UNSET,
            ticket.attempt if ledger else UNSET,
        )

    def _write(self, payload: bytes) -> None:
        self.sendMessage(payload)  # type: ignore[no-untyped-call]
        if not self.writable:
            self._unread += len(payload)
            if self._unread > UNREAD:
                self.dropConnection(abort=True)

    def close(self, problem: Problem) -> None:
        """End the connection with the problem's close code."""
        if self.state == self.STATE_OPEN:
            reason = problem.detail.encode()[:REASON].decode(errors="ignore").encode()
            self.sendCloseFrame(problem.close, reason)
        else:
            self.dropConnection(abort=True)

    # -- the transport -------------------------------------------------------------------------

    def read_on(self, wanted: bool) -> None:
        """Go on reading from the phone, or stop for a while."""
        if wanted:
            self.transport.resumeProducing()
        else:
            self.transport.pauseProducing()

    def pauseProducing(self) -> None:
        """The transport has enough to write for now."""
        self.writable, self._unread = False, 0

    def resumeProducing(self) -> None:
        """The transport has written it."""
        self.writable = True
        self._guarded(self._desk.writable_again)

    def stopProducing(self) -> None:
        """The transport has gone; `connectionLost` follows."""
        self.writable = False
