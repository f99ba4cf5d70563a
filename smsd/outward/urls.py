"""Where a hook may point: what can be judged of a URL before any name is looked up.

One strict reading, and what it does not understand is refused: whatever two parsers could read in
two ways has no place here. What the name stands for is judged at every attempt, in
`smsd.outward.road`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv6Address

import idna
from msgspec import Struct

from smsd.outward.gates import Door
from smsd.outward.networks import Address, Network, address_of, is_in, is_public, plain

LONGEST = 2000

_URL = re.compile(r"(?P<scheme>[^:/?#]*)://(?P<authority>[^/?#]*)(?P<target>.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?", re.DOTALL)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
#: A last label that a resolver would take for a number, and the name for an IPv4 address.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORTS = {"https": 443, "http": 80}
#: Names of this host and of networks that are not the Internet.
_INSIDE = ("localhost", "local", "internal", "intranet", "lan", "localdomain", "home.arpa", "onion")


class RefusedUrl(Exception):
    """The URL may not be called; its text is a sentence that says what would be right."""


class RefusedAddress(RefusedUrl):
    """The URL, or what its name stands for, leads to an address that may not be called."""


class Target(Struct, frozen=True):
    """A URL in the one form in which it is called."""

    scheme: str
    #: A name in ASCII and small letters, or an address without brackets.
    host: str
    port: int
    #: Path and query, from the first slash on.
    path: str

    @property
    def door(self) -> Door:
        """The endpoint, as `Gates` count it."""
        return self.host, self.port

    @property
    def address(self) -> Address | None:
        """The address that the URL names itself, where it is no name."""
        return address_of(self.host)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


def judge_url(url: str, allow: Sequence[Network]) -> Target:
    """Where ``url`` points; raises `RefusedUrl`. ``allow`` is the setting ``hooks_allow``."""
    _judge_text(url)
    parts = _URL.fullmatch(url)
    if parts is None:
        raise RefusedUrl("must be a whole URL, as in https://app.example.com/sms")
    scheme = _scheme(parts["scheme"], allow)
    host, port = _authority(parts["authority"])
    target = Target(scheme, _host(host), port or _PORTS[scheme], _path(parts["target"]))
    _judge_place(target, allow)
    return target


def judge_address(scheme: str, address: Address, allow: Sequence[Network]) -> None:
    """Raises `RefusedAddress` where nothing may be posted to this address by this scheme."""
    if is_in(address, allow):
        return
    if not is_public(address):
        raise RefusedAddress(
            "must not lead to an address outside the public Internet; "
            "the operator can allow networks with hooks_allow"
        )
    if scheme == "http":
        raise RefusedAddress("must begin with https://; http only goes to networks of hooks_allow")


def _judge_text(url: str) -> None:
    if len(url) > LONGEST:
        raise RefusedUrl(f"must have at most {LONGEST} characters")
    if any(character <= " " or character in '\\\x7f"<>^`{|}' for character in url):
        raise RefusedUrl(
            'must have no spaces, control characters, backslashes or any of "<>^`{|}; '
            "percent-encode them"
        )
    if "#" in url:
        raise RefusedUrl("must have no fragment (#...): it would not be sent")


def _scheme(scheme: str, allow: Sequence[Network]) -> str:
    scheme = scheme.lower()
    if scheme == "https" or (scheme == "http" and allow):
        return scheme
    if scheme == "http":
        raise RefusedUrl("must begin with https://; http only goes to networks of hooks_allow")
    raise RefusedUrl("must begin with https://")


def _authority(authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise RefusedUrl("must have no user name or password before the host; posts are signed")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None or not parts["host"]:
        raise RefusedUrl("must name a host, as in https://app.example.com/sms")
    return parts["host"], _port(parts["port"])


def _port(text: str | None) -> int | None:
    if text is None:
        return None
    if re.fullmatch("[0-9]{1,5}", text) and 1 <= int(text) <= 65535:
        return int(text)
    raise RefusedUrl("must have a port from 1 to 65535, or none")


def _host(host: str) -> str:
    if host.startswith("["):
        return _six(host[1:-1])
    name = _in_ascii(host)
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        return _four(name)
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise RefusedUrl(
            "must have a host of letters, digits and hyphens with single dots between, "
            "and no dot at its end"
        )
    return name


def _in_ascii(host: str) -> str:
    """The name as the network has it, in small letters; other alphabets in their ``xn--`` form."""
    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        raise RefusedUrl(
            "must have a host that is a valid name: letters, digits and hyphens, or an "
            "international name"
        ) from None


def _six(text: str) -> str:
    address = address_of(text)
    if not isinstance(address, IPv6Address) or "%" in text:
        raise RefusedUrl("must have an IPv6 address between [ and ], without a zone")
    return str(plain(address))


def _four(text: str) -> str:
    if address_of(text) is None:
        raise RefusedUrl("must have an IPv4 address as four decimal numbers from 0 to 255")
    return text


def _path(target: str) -> str:
    if not target.isascii():
        raise RefusedUrl("must have a path and a query in ASCII: percent-encode the rest")
    return target if target.startswith("/") else f"/{target}"


def _judge_place(target: Target, allow: Sequence[Network]) -> None:
    if target.address is not None:
        judge_address(target.scheme, target.address, allow)
    elif not allow and _is_inside(target.host):
        raise RefusedUrl(
            "must name a host of the public Internet; "
            "the operator can allow networks with hooks_allow"
        )


def _is_inside(name: str) -> bool:
    return "." not in name or any(name == one or name.endswith(f".{one}") for one in _INSIDE)
