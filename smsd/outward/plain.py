"""An agent that keeps treq to what is wanted here: the URL as it was judged, nothing inflated, no
cookie read.

treq asks for gzip and undoes it, a chunk at a time and whatever comes of it: 64 KiB would become
64 MiB. So it neither asks nor learns that something was packed. It also writes a URL anew, with
other escapes, which a receiver may tell apart, and fails at IPv6 addresses: it is told `NOWHERE`.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

#: What treq takes for the URL.
NOWHERE = "http://nowhere.invalid/"

_UNREAD = ("content-encoding", "set-cookie")


@implementer(IAgent)
class Plain:
    """Passes a request on, to this URL, and the answer without what could be acted on."""

    def __init__(self, agent: IAgent, url: str) -> None:
        self._agent = agent
        self._url = url.encode("ascii")

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        asked = Headers() if headers is None else headers.copy()
        asked.removeHeader("accept-encoding")
        return self._agent.request(method, self._url, asked, bodyProducer).addCallback(_bare)


def _bare(response: IResponse) -> IResponse:
    for name in _UNREAD:
        response.headers.removeHeader(name)
    return response


@implementer(IBodyProducer)
class Whole:
    """A body that is written at once; Twisted's own producers ask the global reactor."""

    def __init__(self, body: bytes) -> None:
        self.length = len(body)
        self._body = body

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def stopProducing(self) -> None:
        pass

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass
