"""What an OrgId and a SecretKey look like, and what a request says of who is asking."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from msgspec import Struct

from smsd.domain.errors import Contradiction, Fault

ORG_ID = r"^[A-Za-z0-9_\-]{3,64}$(?!\n)"
SECRET_LENGTH = (12, 50)
SECRET_RULE = "12 to 50 characters, no control character, no space at either end"
#: For so many seconds the secret before a rotation may work on at most: a year.
LONGEST_GRACE = 31_536_000

_ORG_ID = re.compile(ORG_ID)


class Credentials(Struct, frozen=True):
    """An OrgId and a SecretKey as a request carried them; None is 'not given'."""

    org_id: str | None = None
    secret: str | None = None

    def __repr__(self) -> str:
        return f"<Credentials of {self.org_id}>"

    def faults(self) -> list[Fault]:
        """What is wrong with their shape (contract section 1), each with what would be right."""
        found = []
        if self.org_id is None or not _ORG_ID.match(self.org_id):
            found.append(Fault(["org_id"], "3 to 64 characters of A-Z a-z 0-9 - _"))
        if self.secret is None or not well_formed_secret(self.secret):
            found.append(Fault(["secret_key"], SECRET_RULE))
        return found


def well_formed_secret(secret: str) -> bool:
    """Whether a new org may be claimed with this secret (contract section 1)."""
    least, most = SECRET_LENGTH
    return (
        least <= len(secret) <= most
        and not (secret[0].isspace() or secret[-1].isspace())
        and not any(unicodedata.category(c) in ("Cc", "Cs") for c in secret)
    )


def well_formed_org_id(org_id: str) -> bool:
    """Whether an org of this name can exist (contract section 1)."""
    return _ORG_ID.match(org_id) is not None


def agreed(what: str, said: Iterable[str | None]) -> str | None:
    """The one value that a request gives for ``what`` in all its places, or None for none.

    Raises `Contradiction` where two places differ.
    """
    agreed = None
    for value in said:
        if value is not None and value != agreed:
            if agreed is not None:
                raise Contradiction(
                    f"The request carries two different values for {what}: send it once."
                )
            agreed = value
    return agreed
