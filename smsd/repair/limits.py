"""``smsd org limit``: what one org is allowed beside what the settings allow all; and how much it
uses, for ``smsd org show``."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from smsd.domain.allowance import NAMES, Allowance, Own
from smsd.domain.settings import TABLE
from smsd.repair.declared import command
from smsd.repair.desk import Desk
from smsd.repair.endings import Misused, NotThere
from smsd.repair.terminal import shown
from smsd.store import limits
from smsd.store.overview import OrgDetails, OrgSeen
from smsd.store.trouble import DataRefused

#: The words that are no values: no limit for this org, and the settings' again.
NONE, DEFAULT = "none", "default"


class LimitSeen(Struct, frozen=True, rename={"origin": "from"}):
    """One limit of an org. ``value`` is null for none, ``origin`` is "org" or "settings", ``used``
    is null for what is not counted."""

    value: int | list[str] | None
    origin: str
    used: int | None = None

    def __str__(self) -> str:
        whose = " (its own)" if self.origin == "org" else ""
        used = "" if self.used is None or self.value is None else f", {self.used} used"
        return f"{NONE if self.value is None else shown(self.value)}{whose}{used}"


@command("org limit", "ORG", "LIMIT", "VALUE")
async def limit(desk: Desk, org_id: str, name: str, text: str) -> None:
    """Set a limit of an org: a value, `none`, or `default` for what the settings say."""
    if name not in NAMES:
        raise Misused(f"There is no limit {name!r}: {', '.join(NAMES)}.")
    value = _value(name, text)
    try:
        own = await limits.change(desk.database, org_id, lambda own: replace(own, **{name: value}))
    except DataRefused:  # a limit belongs to an org that exists
        raise NotThere(f"There is no org {org_id}; `smsd org list` shows all.") from None
    seen = _seen(name, own, desk.settings.allowance)
    desk.terminal.done(f"Org {org_id}: {name} is {seen}.", org_id=org_id, **{name: seen})


async def own_of(desk: Desk, org_id: str) -> Own:
    """What is set for the org, by its operator and by itself."""
    return (await limits.read(desk.database, [org_id])).get(org_id, Own())


async def seen(desk: Desk, org: OrgSeen, details: OrgDetails, own: Own) -> dict[str, LimitSeen]:
    """Every limit of an org by name, as ``smsd org show`` tells it."""
    default = desk.settings.allowance
    sends = own.over(default).max_sends_per_minute
    usage = await limits.usage(desk.database, org.org_id, queued=0, sends=sends)
    used = {
        "max_stored": details.messages,
        "max_queued": org.queued,
        "max_sends_per_minute": usage.sent,
    }
    return {name: _seen(name, own, default, used.get(name)) for name in NAMES}


def _value(name: str, text: str) -> Any:
    """What is to be set; None for what the settings say."""
    if text == DEFAULT:
        return None
    row = TABLE[name]
    try:
        return row.read(row.default if text == NONE else text.replace(",", " "))
    except ValueError as fault:
        raise Misused(f"{name} {text!r}: must be {fault}, or {NONE}, or {DEFAULT}.") from None


def _seen(name: str, own: Own, default: Allowance, used: int | None = None) -> LimitSeen:
    value = getattr(own.over(default), name)
    origin = "settings" if getattr(own, name) is None else "org"
    return LimitSeen((list(value) if isinstance(value, tuple) else value) or None, origin, used)
