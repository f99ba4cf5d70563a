"""``/keys``: an org gives programs and phones API keys, sees them, takes them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from smsd.domain.allowance import PREFIX
from smsd.domain.keys import Scope
from smsd.rest.body import Body, Identified
from smsd.rest.identity import Identity
from smsd.rest.route import SECRET_ONLY, route
from smsd.store.keys import KeySeen, NewKey

if TYPE_CHECKING:
    from smsd.gateway.doorman import Caller
    from smsd.gateway.rotation import Keeper
    from smsd.rest.services import Services

#: Seconds: ten years.
LONGEST = 315_360_000
PREFIXES, SEGMENTS = 100, 1_000_000_000

Prefix = Annotated[
    str,
    Meta(
        pattern=PREFIX,
        description="must be what a number begins with: an optional + and up to 20 digits",
    ),
]


class KeyAsked(Identified, frozen=True, kw_only=True):
    """What the key is for, and how far. `to_prefixes` and `segments_a_day` bound what it sends."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)",
            description="must be a name of 1 to 64 characters",
        ),
    ]
    scopes: Annotated[
        list[Scope],
        Meta(
            min_length=1,
            max_length=16,
            description="must be a list of read, send, hooks, phone: one at least",
        ),
    ]
    expires_in: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=LONGEST,
                description=f"must be a whole number of seconds from 1 to {LONGEST}, or null",
            ),
        ]
        | None
    ) = None
    segments_a_day: (
        Annotated[
            int,
            Meta(
                ge=1, le=SEGMENTS, description="must be a whole number from 1 to a billion, or null"
            ),
        ]
        | None
    ) = None
    to_prefixes: Annotated[
        list[Prefix],
        Meta(
            max_length=PREFIXES,
            description="must be a list of at most 100 prefixes: an optional + and up to 20 digits",
        ),
    ] = []  # noqa: RUF012 - a Struct copies it

    def __post_init__(self) -> None:
        if "send" not in self.scopes and (self.to_prefixes or self.segments_a_day):
            raise ValueError("to_prefixes and segments_a_day are for keys with the scope send")

    @property
    def new(self) -> NewKey:
        """The key as it is to be made."""
        return NewKey(
            name=self.name,
            scopes=tuple(sorted(set(self.scopes))),
            to_prefixes=tuple(dict.fromkeys(self.to_prefixes)),
            segments_a_day=self.segments_a_day,
            expires_in=self.expires_in,
        )


class KeyShown(KeySeen, frozen=True, kw_only=True):
    """What a key is good for, and when it was used last, to the hour. `segments_today` is what it
    has spent of its budget since midnight UTC."""

    ok: bool = True
    org_id: str


class KeyMade(KeyShown, frozen=True, kw_only=True):
    """The key, and its text: shown this once, and kept nowhere."""

    key: str


class KeysShown(Struct, frozen=True, kw_only=True):
    """All keys of the org, in the order in which they were made; expired ones too."""

    org_id: str
    count: int
    keys: list[KeySeen]


class KeyDeleted(Struct, frozen=True, kw_only=True):
    """The key opens nothing any more."""

    ok: bool = True
    org_id: str
    id: str


_KEY = {
    "id": "3f9a0c51e7d2",
    "name": "the shop's assistant",
    "scopes": ["read", "send"],
    "to_prefixes": ["+1555"],
    "segments_a_day": 200,
    "segments_today": 0,
    "created_at": "2026-01-31T12:00:00.123456+00:00",
    "expires_at": None,
    "last_used_at": None,
}


#: Bounds of what is sent need the scope to send.
_BOUNDED = {
    "anyOf": [
        {"properties": {"scopes": {"contains": {"const": "send"}}}},
        {
            "properties": {
                "to_prefixes": {"maxItems": 0},
                "segments_a_day": {"type": "null"},
            }
        },
    ]
}


@route(
    "POST",
    "/keys/<org_id>",
    identity=Identity.KEEPER,
    scopes=SECRET_ONLY,
    body=Body(
        KeyAsked,
        example={
            "name": "the shop's assistant",
            "scopes": ["read", "send"],
            "to_prefixes": ["+1555"],
            "segments_a_day": 200,
        },
        rule=_BOUNDED,
    ),
    answer=KeyMade,
    example={
        "ok": True,
        "org_id": "myorg",
        "key": "smsd_2dN0x5vQk7b1Ew9TzYc4Rg8UoLpHs3JmAiXfVjBnKqD",
        **_KEY,
    },
)
async def make_key(services: Services, keeper: Keeper, body: KeyAsked) -> KeyMade:
    """Make an API key.

    For a program or a phone that should not hold the SecretKey. Used as
    `Authorization: Bearer smsd_...`; it opens what its scopes name and nothing else: `read`
    messages and SIMs, `send`, `hooks`, or be a `phone`. The key is shown this once.
    """
    made = await services.keys.make(keeper, body.new)
    return KeyMade(org_id=keeper.org_id, key=made.text, **_fields(made.seen))


@route(
    "GET",
    "/keys/<org_id>",
    identity=Identity.MEMBER,
    scopes=SECRET_ONLY,
    answer=KeysShown,
    example={"org_id": "myorg", "count": 1, "keys": [_KEY]},
)
async def list_keys(services: Services, caller: Caller) -> KeysShown:
    """List the API keys of the org, without what opens anything."""
    keys = await services.keys.all(caller)
    return KeysShown(org_id=caller.org_id, count=len(keys), keys=keys)


@route(
    "GET",
    "/keys/<org_id>/<id>",
    identity=Identity.MEMBER,
    scopes=SECRET_ONLY,
    answer=KeyShown,
    example={"ok": True, "org_id": "myorg", **_KEY},
)
async def show_key(services: Services, caller: Caller, key_id: str) -> KeyShown:
    """Show one API key, without what opens anything."""
    seen = await services.keys.one(caller, key_id)
    return KeyShown(org_id=caller.org_id, **_fields(seen))


@route(
    "DELETE",
    "/keys/<org_id>/<id>",
    identity=Identity.MEMBER,
    scopes=SECRET_ONLY,
    answer=KeyDeleted,
    example={"ok": True, "org_id": "myorg", "id": "3f9a0c51e7d2"},
)
async def delete_key(services: Services, caller: Caller, key_id: str) -> KeyDeleted:
    """Delete an API key.

    It opens nothing any more: at once on the node that is asked, within a second on others. Phones
    that hold it are sent away (close 4401).
    """
    await services.keys.delete(caller, key_id)
    return KeyDeleted(org_id=caller.org_id, id=key_id)


def _fields(seen: KeySeen) -> dict[str, Any]:
    return msgspec.structs.asdict(seen)
