"""Which request is the cause: carried into all that it starts, and no further."""

from collections.abc import Callable

from twisted.internet.defer import Deferred

from smsd.domain.cause import apart, caused_by, request_id


def started(seen: list[bytes], waiting: Deferred[None]) -> None:
    """Begin something that goes on later."""

    async def later() -> None:
        await waiting
        seen.append(request_id())

    Deferred.fromCoroutine(later())


def test_what_a_request_starts_is_its_doing_however_late() -> None:
    seen: list[bytes] = []
    waiting: Deferred[None] = Deferred()

    caused_by(b"a", started, seen, waiting)
    assert request_id() == b""
    caused_by(b"b", waiting.callback, None)

    assert seen == [b"a"]


def test_what_is_begun_apart_is_no_requests_doing() -> None:
    seen: list[bytes] = []
    waiting: Deferred[None] = Deferred()

    def within(begin: Callable[[], None]) -> None:
        begin()
        seen.append(request_id())

    caused_by(b"a", within, lambda: apart(started, seen, waiting))
    waiting.callback(None)

    assert seen == [b"a", b""]


def test_a_call_that_fails_leaves_no_request_behind() -> None:
    try:
        caused_by(b"a", dict[str, int]().pop, "nothing")
    except KeyError:
        assert request_id() == b""
