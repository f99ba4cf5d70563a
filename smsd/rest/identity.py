"""Who is asking: the OrgId and the SecretKey from every place where a request may carry them.

Only gathering is done here, and contradictions are refused; whether they belong together is the
doorman's part.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from twisted.logger import Logger

from smsd.domain.credentials import Credentials, agreed
from smsd.domain.errors import Contradiction
from smsd.domain.keys import looks_like_key
from smsd.rest.body import Identified, Letter
from smsd.rest.request import Request

AUTHORIZATION = b"authorization"
ORG_HEADER, SECRET_HEADER, CLAIM_HEADER = b"x-org-id", b"x-secret-key", b"x-claim-token"


class Identity(Enum):
    """Who may call a route."""

    NONE = "anybody"
    MEMBER = "whoever has an org's secret"
    KEEPER = "whoever has an org's secret, and will set another"
    CLAIMS = "whoever has an org's secret, or claims an OrgId that is free"


def credentials(
    request: Request, said: Mapping[str, str], letter: Letter[Identified] | None = None
) -> Credentials:
    """From path or query (``said``), body and headers; raises `Contradiction`."""
    return Credentials(
        _agreed("the OrgId", "org_id", ORG_HEADER, request, said, letter),
        _agreed("the SecretKey", "secret_key", SECRET_HEADER, request, said, letter),
    )


def claim_token(
    request: Request, said: Mapping[str, str], letter: Letter[Identified] | None = None
) -> str | None:
    """The enrolment token that a claim may need (setting ``claims``)."""
    return _agreed("the claim token", "claim_token", CLAIM_HEADER, request, said, letter)


def bearer(request: Request) -> str | None:
    """The API key in ``Authorization``. Whatever else may stand there, a proxy's token for one, is
    not ours to judge. Raises `Contradiction` for two."""
    if AUTHORIZATION not in request.head.headers:
        return None
    return agreed("the API key", map(_borne, request.said(AUTHORIZATION)))


def keyed(given: Credentials) -> str | None:
    """The OrgId beside an API key; raises `Contradiction` where there is a secret as well."""
    if given.secret is not None:
        raise Contradiction("The request carries an API key and a SecretKey: send one of them.")
    return given.org_id


def _borne(said: str) -> str | None:
    scheme, _, token = said.partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and looks_like_key(token) else None


class PathSecrets:
    """Warns of secrets in paths, once an org: proxies before us may well log paths."""

    _log = Logger()

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def seen(self, org_id: str) -> None:
        """A proven caller of this org had its secret in the path."""
        if org_id not in self._warned:
            self._warned.add(org_id)
            self._log.warn(
                "org {org} sends its SecretKey in the URL, where proxies may log it: "
                "the header X-Secret-Key is safer",
                org=org_id,
            )


def _agreed(
    what: str,
    field: str,
    header: bytes,
    request: Request,
    said: Mapping[str, str],
    letter: Letter[Identified] | None,
) -> str | None:
    written = letter.field(field) if letter else None
    return agreed(what, (said.get(field), written, *request.said(header)))
