"""What may be registered as a hook, and what is called: hostile forms make no connection at all."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from receivers import Listen, Names, Receiver, courier

from smsd.outward.signature import new_secret
from smsd.outward.urls import RefusedUrl, Target, judge_url

SECRETS = [new_secret(lambda count: b"a" * count)]
PUBLIC, INSIDE = "93.184.216.34", (ip_network("127.0.0.0/8"), ip_network("fd00::/8"))

#: P is the port of a listener on every address of this machine.
HOSTS = [
    # IPv4 that is not the Internet, as everybody writes it
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.19.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    # IPv4 in forms that a resolver understands
    "0",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "017700000001",
    "127.000.000.001",
    "127.0.0.1.",
    "127.0.0.256",
    "0x",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
    "\u2460\u2461\u2466.0.0.1",
    "127.0.0.1%00",
    # IPv6 that is not the Internet, or has an IPv4 address inside
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::127.0.0.1]",
    "[100::1]",
    "[2001::7f00:1]",
    "[2001:20::1]",
    "[2001:db8::1]",
    "[2002:7f00:1::]",
    "[3fff::1]",
    "[5f00::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[::1%lo]",
    "[fec0::1]",
    "[ff02::1]",
    "[127.0.0.1]",
    "[v1.127]",
    "[::1",
    "::1",
    "[::1]example.com",
    # names of this host, of inner networks, and what is no name
    "localhost",
    "LocalHost",
    "localhost.",
    "a.localhost",
    "localhost.localdomain",
    "redis",
    "printer.local",
    "metadata.google.internal",
    "router.home.arpa",
    "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
    "",
    ".",
    "a..example.com",
    "-a.example.com",
    "a_b.example.com",
    "a" * 64 + ".example.com",
    "a." * 130 + "example.com",
    "xn--a.example.com",
    "%31%32%37.0.0.1",
    # two hosts in one
    "user@127.0.0.1",
    "user:word@127.0.0.1",
    "example.com@127.0.0.1",
    "example.com:80@127.0.0.1",
    "127.0.0.1@example.com",
    "example.com\\@127.0.0.1",
    "127.0.0.1\\.example.com",
    "example.com &@127.0.0.1",
    "127.0.0.1\t",
    "127.0.0.1\r\nhost:a",
    "127.0.0.1\0.example.com",
    "127.0.0.1:1",
]
#: Names whose address is not the Internet's, or not every one of them.
ANSWERS = {
    "one.example.com": ["127.0.0.1"],
    "some.example.com": [PUBLIC, "127.0.0.1"],
    "six.example.com": [PUBLIC, "::1"],
    "mapped.example.com": ["::ffff:127.0.0.1"],
    "translated.example.com": ["64:ff9b::7f00:1"],
    "tunnelled.example.com": ["2002:7f00:1::"],
    "teredo.example.com": ["2001:0:7f00:1::"],
    "zone.example.com": ["fe80::1%lo"],
    "cloud.example.com": ["169.254.169.254"],
    "here.example.com": ["0.0.0.0"],
    "odd.example.com": ["127.1"],
    "none.example.com": [],
}
URLS = [
    "",
    "https",
    "https:127.0.0.1:P",
    "https:/127.0.0.1:P/",
    "https:///127.0.0.1:P/",
    "https:\\\\127.0.0.1:P\\",
    "//127.0.0.1:P/",
    " https://127.0.0.1:P/",
    "127.0.0.1:P",
    "ftp://127.0.0.1:P/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:P/_x",
    "javascript:alert(1)",
    "http://127.0.0.1:P/",
    "http://example.com:P/",
    "https://127.0.0.1:P#@example.com/",
    "https://example.com:P/#a",
    "https://example.com:0/",
    "https://example.com:65536/",
    "https://example.com:/",
    "https://example.com:+443/",
    "https://example.com:\uff14\uff14\uff13/",
    "https://example.com:P/\u00e4",
    "https://example.com:P/a b",
    "https://example.com:P/" + "a" * 2000,
]
HOSTILE = [f"https://{host}:P/" for host in (*HOSTS, *ANSWERS)] + URLS


def test_there_are_more_than_sixty_hostile_forms() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) > 60


@pytest_twisted.ensureDeferred
async def test_no_hostile_form_makes_a_connection(listen: Listen) -> None:
    receiver = Receiver()
    port = str(await listen(receiver, "tcp6:0:interface=\\:\\:"))
    names = Names({name: [said] for name, said in ANSWERS.items()})
    post = courier(names, allow=())
    for form in HOSTILE:
        attempt = await post.deliver(form.replace("P", port), "evt_7", b"{}", SECRETS)
        assert attempt.error in ("refused_url", "refused_address", "unknown_name"), form
    assert receiver.opened == 0
    assert names.asked == list(ANSWERS)


@pytest_twisted.ensureDeferred
async def test_the_listener_of_the_hostile_forms_can_be_reached(listen: Listen) -> None:
    receiver = Receiver()
    port = await listen(receiver, "tcp6:0:interface=\\:\\:")
    names = Names({"some.example.com": [["127.0.0.1"]]})
    await courier(names).deliver(f"http://some.example.com:{port}/", "evt_7", b"{}", SECRETS)
    assert receiver.opened == 1


@pytest_twisted.ensureDeferred
async def test_a_name_that_is_bound_anew_is_judged_anew(listen: Listen) -> None:
    allowed, other = Receiver(), Receiver()
    port = await listen(allowed, "tcp:0:interface=127.0.0.2")
    await listen(other, f"tcp:{port}:interface=127.0.0.1")
    names = Names({"app.example.com": [["127.0.0.2"], ["127.0.0.1"]]})
    post = courier(names, allow=[ip_network("127.0.0.2/32")])
    url = f"http://app.example.com:{port}/"
    first, second = [await post.deliver(url, "evt_7", b"{}", SECRETS) for _ in range(2)]
    assert (first.status, second.error) == (200, "refused_address")
    assert (allowed.opened, other.opened) == (1, 0)
    assert names.asked == ["app.example.com"] * 2


@pytest.mark.parametrize(
    ("url", "called"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://Example.COM:443/A?b=C", "https://example.com/A?b=C"),
        ("https://example.com?a", "https://example.com/?a"),
        ("https://example.com:8443/%C3%A4/../b", "https://example.com:8443/%C3%A4/../b"),
        ("https://example.com:1/", "https://example.com:1/"),
        ("https://example.com:65535/", "https://example.com:65535/"),
        ("https://b\u00fccher.example.com/", "https://xn--bcher-kva.example.com/"),
        ("https://xn--bcher-kva.example.com/", "https://xn--bcher-kva.example.com/"),
        (f"https://{PUBLIC}/", f"https://{PUBLIC}/"),
        ("https://[2606:4700::1111]:8443/", "https://[2606:4700::1111]:8443/"),
        ("https://[::ffff:93.184.216.34]/", f"https://{PUBLIC}/"),
        ("https://example.com/@a:b", "https://example.com/@a:b"),
    ],
)
def test_what_may_be_called_has_one_form(url: str, called: str) -> None:
    target = judge_url(url, ())
    assert target.url == called
    assert judge_url(called, ()) == target


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/",
        "https://127.0.0.1/",
        "http://[fd00::1]/",
        "http://redis:6379/",
        "http://localhost/",
        "https://printer.local/",
        "http://app.example.com/",
    ],
)
def test_hooks_allow_opens_its_networks_for_http_too(url: str) -> None:
    assert judge_url(url, INSIDE).url == url
    with pytest.raises(RefusedUrl):
        judge_url(url, ())


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "https://10.0.0.1/", f"http://{PUBLIC}/"])
def test_hooks_allow_opens_nothing_else(url: str) -> None:
    with pytest.raises(RefusedUrl, match="hooks_allow"):
        judge_url(url, INSIDE)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("example.com/sms", "a whole URL, as in https://"),
        ("ftp://example.com/", "must begin with https://"),
        ("http://example.com/", "http only goes to networks of hooks_allow"),
        ("https://a:b@example.com/", "no user name or password"),
        ("https://example.com/#a", "no fragment"),
        ("https://example.com:0/", "a port from 1 to 65535"),
        ("https://127.1/", "four decimal numbers"),
        ("https://[fe80::1%25lo]/", "without a zone"),
        ("https://example.com./", "no dot at its end"),
        ("https://example.com/\u00e4", "percent-encode"),
        ("https://10.0.0.1/", "outside the public Internet"),
        ("https://localhost/", "a host of the public Internet"),
        ("https://example.com/" + "a" * 2000, "at most 2000 characters"),
    ],
    ids=lambda text: text[:30],
)
def test_a_refusal_says_what_would_be_right(url: str, says: str) -> None:
    with pytest.raises(RefusedUrl) as refused:
        judge_url(url, ())
    assert says in str(refused.value)


LINKS = ["https://", "http://", "HTTPS:", "//", "@", ":", "#", "?", "[", "]", "::1", "%", ".", "\\"]
NAMES = ["example.com", "127.0.0.1", "0x7f.1", "xn--", "xn--bcher-kva", "\u00fc", "\u3002", "-"]
PIECES = st.one_of(st.sampled_from(LINKS + NAMES), st.text(max_size=3))


def judged(url: str) -> Target | str:
    """Where it points, or why it may not be called."""
    try:
        return judge_url(url, ())
    except RefusedUrl as refused:
        return str(refused)


@given(st.lists(PIECES, max_size=8).map("".join))
def test_any_text_is_refused_in_words_or_has_one_form(text: str) -> None:
    for url in (text, f"https://{text}", f"https://{text}/"):
        found = judged(url)
        if isinstance(found, str):
            assert found.startswith("must ")
        else:
            assert judge_url(found.url, ()) == found
            assert found.address is None or found.address.is_global
