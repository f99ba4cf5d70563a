"""Waiting on behalf of a client, for as long as it is there.

Whatever must come to its end all the same, as a commit must, is not for here.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred

from smsd.rest.request import Request

T = TypeVar("T")


async def while_there(client: Request, work: Coroutine[Any, Any, T], unheard: T) -> T:
    """What ``work`` gives. Once the client hangs up it is cancelled at once, and ``unheard`` is
    what nobody will read."""
    client.waits = True
    if client.gone:
        work.close()
        return unheard
    working = Deferred.fromCoroutine(work)
    client.notifyFinish().addErrback(lambda _: working.cancel())
    try:
        return await working
    except CancelledError:
        return unheard
