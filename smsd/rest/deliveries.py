"""``/hooks/{OrgId}/{id}/...``: what came of a hook's posts; it is tried, goes back, signs anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from smsd.domain.happenings import Cursor
from smsd.domain.records import INT64
from smsd.rest.body import Body, Identified
from smsd.rest.hooks import MADE, SCOPES, SHOWN, HookMade, HookShown, fields, shown
from smsd.rest.identity import Identity
from smsd.rest.route import route
from smsd.store.hooks import Delivery

if TYPE_CHECKING:
    from smsd.gateway.doorman import Caller
    from smsd.rest.services import Services

#: Seconds.
DAY, LONGEST_OVERLAP = 86_400, 2_592_000


class DeliveryQuery(Struct, frozen=True, kw_only=True):
    """A page of deliveries, the newest first."""

    limit: Annotated[
        int, Meta(ge=1, le=100, description="must be a number of deliveries from 1 to 100")
    ] = 20
    before_id: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=INT64[-1],
                description="must be a delivery's id of 1 or more: only earlier ones",
            ),
        ]
        | None
    ) = None


class Deliveries(Struct, frozen=True, kw_only=True):
    """What came of a hook's posts, the newest first. Each has the answer's `status` and its first
    KiB, or an `error` that says why there was none; `attempt` is which it was at its event."""

    org_id: str
    id: str
    count: int
    deliveries: list[Delivery]


class Tested(Struct, frozen=True, kw_only=True):
    """What came of the post: `ok` where it was taken."""

    ok: bool
    org_id: str
    id: str
    status: int | None
    error: str | None
    ms: int
    answer: str


class Back(Identified, frozen=True, kw_only=True):
    """Behind which event the hook goes on."""

    since: Cursor


class Anew(Identified, frozen=True, kw_only=True):
    """For how many seconds the present secret signs beside the new one: a day by default."""

    overlap: Annotated[
        int,
        Meta(
            ge=0,
            le=LONGEST_OVERLAP,
            description=f"must be a whole number of seconds from 0 to {LONGEST_OVERLAP}",
        ),
    ] = DAY


class Nothing(Identified, frozen=True, kw_only=True):
    """Nothing but, perhaps, who asks."""


@route(
    "GET",
    "/hooks/<org_id>/<id>/deliveries",
    identity=Identity.MEMBER,
    scopes=SCOPES,
    query=DeliveryQuery,
    answer=Deliveries,
    example={
        "org_id": "myorg",
        "id": "7c1e0b94a2f8",
        "count": 1,
        "deliveries": [
            {
                "id": 2,
                "event_id": 41,
                "attempt": 2,
                "at": "2026-01-31T12:00:05.123456+00:00",
                "status": 204,
                "error": None,
                "ms": 38,
                "answer": "",
            }
        ],
    },
)
async def list_deliveries(
    services: Services, caller: Caller, query: DeliveryQuery, hook_id: str
) -> Deliveries:
    """List what came of a webhook's posts.

    Every attempt, the newest first; go on with `before_id`. They are kept as long as events are.
    """
    found = await services.hooks.deliveries(
        caller, hook_id, before_id=query.before_id, limit=query.limit
    )
    return Deliveries(org_id=caller.org_id, id=hook_id, count=len(found), deliveries=list(found))


@route(
    "POST",
    "/hooks/<org_id>/<id>/test",
    identity=Identity.MEMBER,
    scopes=SCOPES,
    body=Body(Nothing, example={}, bare=True),
    answer=Tested,
    example={
        "ok": True,
        "org_id": "myorg",
        "id": "7c1e0b94a2f8",
        "status": 204,
        "error": None,
        "ms": 38,
        "answer": "",
    },
)
async def try_hook(services: Services, caller: Caller, body: Nothing, hook_id: str) -> Tested:
    """Try a webhook.

    Posts one event of the type `hook.test` now, signed like all others, also where the hook is
    disabled, and answers with what came of it, within 20 seconds.
    """
    attempt = await services.hooks.test(caller, hook_id)
    return Tested(
        ok=attempt.taken,
        org_id=caller.org_id,
        id=hook_id,
        status=attempt.status,
        error=attempt.error,
        ms=attempt.ms,
        answer=attempt.answer,
    )


@route(
    "POST",
    "/hooks/<org_id>/<id>/replay",
    identity=Identity.MEMBER,
    scopes=SCOPES,
    body=Body(Back, example={"since": 41}),
    answer=HookShown,
    example=SHOWN,
)
async def replay_hook(services: Services, caller: Caller, body: Back, hook_id: str) -> HookShown:
    """Post events once more.

    The webhook goes on behind event `since`, at once, or as soon as it is enabled. 410 where
    something behind it is kept no longer, with the `oldest` that is good.
    """
    return shown(caller, await services.hooks.replay(caller, hook_id, body.since))


@route(
    "POST",
    "/hooks/<org_id>/<id>/rotate",
    identity=Identity.MEMBER,
    scopes=SCOPES,
    body=Body(Anew, example={"overlap": 86400}, bare=True),
    answer=HookMade,
    example={**MADE, "old_secret_until": "2026-02-01T12:00:00.123456+00:00"},
)
async def rotate_hook(services: Services, caller: Caller, body: Anew, hook_id: str) -> HookMade:
    """Give a webhook another secret.

    For `overlap` seconds the one before signs too, so that no post is refused while your program
    is told. The new one is shown this once.
    """
    made = await services.hooks.rotate(caller, hook_id, body.overlap)
    return HookMade(org_id=caller.org_id, secret=made.secret, **fields(made.seen))
