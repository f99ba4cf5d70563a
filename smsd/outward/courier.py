"""Posting one event to one URL, once: judged, looked up, judged again, signed, sent, and the answer
noted, whatever the other side does. When it is tried again is `smsd.outward.retries`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HostnameCachingHTTPSPolicy
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from smsd import __version__
from smsd.outward.answer import Answer
from smsd.outward.attempt import Attempt, Error
from smsd.outward.endings import KNOWN, ending_of
from smsd.outward.line import Line
from smsd.outward.names import look_up
from smsd.outward.networks import Network
from smsd.outward.plain import NOWHERE, Plain, Whole
from smsd.outward.signature import signed
from smsd.outward.urls import Target, judge_address, judge_url

#: Seconds for all of an attempt.
LONGEST = 15.0
#: Seconds that an endpoint has to close its side after its answer.
GOODBYE = 2.0
#: Hosts whose TLS context is kept: to make one takes 4.5 ms, for it reads all authorities of the
#: system, and to keep one takes 0.9 MiB.
CONTEXTS = 20

_SAID = {"content-type": "application/json", "user-agent": f"smsd/{__version__}"}


class Courier:
    """Posts for everybody; holds no connection between two attempts.

    ``reactor`` has a resolver, TCP and a clock, which need not know the time of day: that is
    ``time_of_day`` (Unix seconds). ``allow`` are the networks of the setting ``hooks_allow``;
    ``trust`` are the authorities whose certificates are good (Twisted's ``trustRoot``), None for
    those of the system.
    """

    def __init__(
        self,
        reactor: Any,
        allow: Sequence[Network],
        *,
        time_of_day: Callable[[], float] = time.time,
        trust: Any = None,
    ) -> None:
        self._reactor = reactor
        self._time_of_day = time_of_day
        self.allow = allow
        self._policy = HostnameCachingHTTPSPolicy(BrowserLikePolicyForHTTPS(trust), CONTEXTS)

    async def deliver(
        self, url: str, event_id: str, body: bytes, secrets: Sequence[str]
    ) -> Attempt:
        """One POST of ``body`` (JSON), signed with all ``secrets``.

        ``event_id`` is the ``webhook-id``, the same at every attempt. Raises nothing but
        CancelledError where it is cancelled before the answer was read; the endpoint may have got
        it then.
        """
        begun = self._reactor.seconds()
        answer = Answer(begun)
        error = await self._within(self._post(answer, url, event_id, body, secrets))
        return answer.attempt(error, ended=self._reactor.seconds())

    async def _within(self, posting: Any) -> Error | None:
        """Posts, for so long at most; why it ended, where not in order."""
        going: Deferred[None] = Deferred.fromCoroutine(posting)
        late = self._reactor.callLater(LONGEST, going.cancel)
        try:
            await going
        except KNOWN as error:
            return ending_of(error) if late.active() else "time_out"
        finally:
            if late.active():
                late.cancel()
        return None

    async def _post(
        self, answer: Answer, url: str, event_id: str, body: bytes, secrets: Sequence[str]
    ) -> None:
        target = judge_url(url, self.allow)
        line = await self._line(target)
        headers = Headers()
        signature = signed(event_id, int(self._time_of_day()), body, secrets)
        for name, value in {**_SAID, **signature}.items():
            headers.addRawHeader(name, value)
        try:
            response = await self._sent(line, target, headers, body)
            await answer.read(response, self._reactor, self._time_of_day)
            # What was answered is answered, however the goodbye ends.
            with suppress(TooLate, CancelledError):
                await Deferred.fromCoroutine(line.closed()).addTimeout(GOODBYE, self._reactor)
        finally:
            line.hang_up()

    async def _line(self, target: Target) -> Line:
        """Raises what `look_up` and `judge_address` raise: one bad address is enough."""
        addresses = await look_up(self._reactor, target.host)
        for address in addresses:
            judge_address(target.scheme, address, self.allow)
        return Line(self._reactor, self._policy, target, addresses)

    async def _sent(self, line: Line, target: Target, headers: Headers, body: bytes) -> IResponse:
        agent = Plain(Agent.usingEndpointFactory(self._reactor, line), target.url)
        # A client of its own: treq keeps a client's cookies.
        return await HTTPClient(agent).post(
            NOWHERE,
            headers=headers,
            data=Whole(body),
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )
