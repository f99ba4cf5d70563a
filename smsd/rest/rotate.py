"""``POST /orgs/{OrgId}/secret``: an org sets another SecretKey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from smsd.domain.credentials import LONGEST_GRACE, SECRET_LENGTH, SECRET_RULE
from smsd.domain.moments import Rfc3339, rfc3339
from smsd.rest.body import Body, Identified
from smsd.rest.identity import Identity
from smsd.rest.route import SECRET_ONLY, route

if TYPE_CHECKING:
    from smsd.gateway.rotation import Keeper
    from smsd.rest.services import Services

_LEAST, _MOST = SECRET_LENGTH


class Rotated(Identified, frozen=True, kw_only=True):
    """The next SecretKey, and for how many seconds the present one works on beside it."""

    new_secret_key: Annotated[
        str,
        Meta(
            min_length=_LEAST,
            max_length=_MOST,
            pattern=r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f]$",
            description=f"must have {SECRET_RULE}",
        ),
    ]
    grace: Annotated[
        int,
        Meta(
            ge=0,
            le=LONGEST_GRACE,
            description=f"must be a whole number of seconds from 0 to {LONGEST_GRACE}",
        ),
    ] = 0


class InForce(Struct, frozen=True, kw_only=True):
    """The new secret is in force; `old_secret_until` says how long the one before works on, null
    where it does no more."""

    ok: bool = True
    org_id: str
    old_secret_until: Rfc3339 | None


@route(
    "POST",
    "/orgs/<org_id>/secret",
    identity=Identity.KEEPER,
    scopes=SECRET_ONLY,
    body=Body(Rotated, example={"new_secret_key": "another-secret-456", "grace": 3600}),
    answer=InForce,
    example={
        "ok": True,
        "org_id": "myorg",
        "old_secret_until": "2026-01-31T13:00:00.123456+00:00",
    },
)
async def rotate_secret(services: Services, keeper: Keeper, body: Rotated) -> InForce:
    """Set another SecretKey.

    The present one opens the call. It works on for `grace` seconds (none by default), and may set
    no other meanwhile. Phones that are connected stay; all others need the new one from then on.
    """
    until = await services.rotation.rotate(keeper, body.new_secret_key, body.grace)
    return InForce(org_id=keeper.org_id, old_secret_until=rfc3339(until) if until else None)
