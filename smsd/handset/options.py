"""The options of ``smsd phone``, checked before anything starts."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import Any

from twisted.python.usage import Options, UsageError

from smsd import __version__
from smsd.domain.credentials import Credentials
from smsd.domain.keys import MARK, fingerprint
from smsd.domain.numbers import DIALLABLE, SLOTS, clean
from smsd.handset.line import well_formed

LONGEST_DELAY = 86_400.0

_CREDENTIALS = {"org_id": "--org", "secret_key": "the secret"}


class PhoneOptions(Options):
    """After parsing, each value has its own type and is known to be good."""

    synopsis = "Usage: smsd phone --org ORG [options]"
    longdesc = (
        "A phone to try the gateway with: it connects as a phone does, shows what it is asked to "
        "send, only pretends to send it, and says so to the gateway. A line typed as "
        "'+15551234567 some text' is an SMS that arrives."
    )
    optParameters = [  # noqa: RUF012 - Twisted's own way to declare them
        ["org", None, None, "the OrgId; an unknown one is claimed with the secret"],
        [
            "secret",
            None,
            None,
            "the SecretKey; better given in the environment as SMSD_SECRET, because ps shows "
            "arguments to everybody on the machine. In its place an API key with the scope phone, "
            "in the environment as SMSD_KEY",
        ],
        ["url", None, "ws://127.0.0.1:8080/websocket", "the gateway: ws, wss, http or https"],
        [
            "number",
            None,
            None,
            "the number of the SIM, '' for a SIM that does not know it [default: the one in the "
            "ledger, else a random +1555010xxxx]",
        ],
        ["slot", None, "0", "the slot of the SIM, 0 to 15"],
        ["fail-every", None, "0", "let every N-th SMS fail; 0 lets none"],
        ["delay", None, "0", "seconds until the result of an SMS is known"],
        ["ledger", None, None, "keep a ledger in this file and send each ticket exactly once"],
        [
            "device-id",
            None,
            None,
            "who this phone says it is [default: the one in the ledger, else none]",
        ],
    ]

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._environment = environment

    def opt_version(self) -> None:
        """Show the version and exit."""
        print(f"smsd {__version__}")  # noqa: T201
        raise SystemExit(0)

    def parseArgs(self, *words: str) -> None:
        if words:
            raise UsageError(f"{words[0]!r} is no option of smsd phone; --help lists them")

    def postOptions(self) -> None:
        self._check_identity()
        self._check_url()
        self["number"] = _number(self["number"])
        self["slot"] = _whole("--slot", self["slot"], SLOTS)
        self["fail-every"] = _whole("--fail-every", self["fail-every"], range(10**9))
        self["delay"] = _delay(self["delay"])
        self["device-id"] = _device_id(self["device-id"])
        if self["ledger"] == "":
            raise UsageError("--ledger must be the name of a file")

    def _check_identity(self) -> None:
        if self["secret"] is None:
            self["secret"] = self._environment.get("SMSD_SECRET")
        if self["org"] is None:
            raise UsageError("--org is missing: which org does this phone belong to?")
        self["key"] = self._environment.get("SMSD_KEY")
        if self["key"] is not None:
            _check_key(self["key"], self["secret"])
        elif self["secret"] is None:
            raise UsageError("the secret is missing: set SMSD_SECRET in the environment")
        for fault in Credentials(self["org"], self["secret"]).faults():
            name = str(fault.loc[0])
            if name == "org_id" or self["key"] is None:
                raise UsageError(f"{_CREDENTIALS[name]} must have {fault.msg}")

    def _check_url(self) -> None:
        try:
            self["url"] = well_formed(self["url"])
        except ValueError as error:
            raise UsageError(f"--url {self['url']!r}: {error}") from None


def _check_key(key: str, secret: str | None) -> None:
    if secret is not None:
        raise UsageError(
            "there is a secret and an API key (SMSD_KEY): this phone needs one of them"
        )
    if fingerprint(key) is None:
        raise UsageError(f"SMSD_KEY is no API key: one begins with {MARK} and has 48 characters")


def _number(given: str | None) -> str | None:
    if given and not re.match(DIALLABLE, given):
        raise UsageError(f"--number {given!r}: a number has 2 to 20 digits, as in +15550100123")
    return clean(given) if given else given


def _whole(name: str, given: str, allowed: range) -> int:
    value = int(given) if re.fullmatch("[0-9]{1,9}", given) else -1
    if value not in allowed:
        raise UsageError(f"{name} {given!r}: a whole number from {allowed[0]} to {allowed[-1]:,}")
    return value


def _delay(given: str) -> float:
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not 0 <= value <= LONGEST_DELAY:
        raise UsageError(f"--delay {given!r}: seconds, 0 to {LONGEST_DELAY:,.0f}, as in 1.5")
    return value


def _device_id(given: Any) -> str | None:
    if given is not None and not (1 <= len(given) <= 64 and given.isprintable()):
        raise UsageError("--device-id must have 1 to 64 printable characters")
    return given  # type: ignore[no-any-return]
