"""What ``smsd phone`` takes on its command line, and what it says about a wrong option."""

from __future__ import annotations

import pytest
from twisted.python.usage import UsageError

from smsd.handset.options import PhoneOptions

SECRET = {"SMSD_SECRET": "my-secret-key-123"}
KEY = "smsd_" + "k" * 43


def parsed(*argv: str, environment: dict[str, str] = SECRET) -> PhoneOptions:
    options = PhoneOptions(environment)
    options.parseOptions(["--org", "myorg", *argv])
    return options


def test_org_and_a_secret_in_the_environment_are_enough() -> None:
    assert dict(parsed()) == {
        "org": "myorg",
        "secret": "my-secret-key-123",
        "url": "ws://127.0.0.1:8080/websocket",
        "number": None,
        "slot": 0,
        "fail-every": 0,
        "delay": 0.0,
        "ledger": None,
        "device-id": None,
        "key": None,
    }


def test_an_api_key_in_the_environment_takes_the_secrets_place() -> None:
    options = parsed(environment={"SMSD_KEY": KEY})
    assert (options["key"], options["secret"]) == (KEY, None)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"SMSD_KEY": "smsd_short"}, "SMSD_KEY is no API key"),
        ({"SMSD_KEY": "x" * 48}, "SMSD_KEY is no API key"),
        ({"SMSD_KEY": "smsd_" + "k" * 43, **SECRET}, "this phone needs one of them"),
    ],
)
def test_a_key_that_is_none_or_one_too_many_is_told_without_it(
    environment: dict[str, str], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parsed(environment=environment)
    assert environment["SMSD_KEY"] not in str(caught.value)


def test_beside_a_key_the_org_is_checked_still() -> None:
    with pytest.raises(UsageError, match="--org must have 3 to 64"):
        parsed("--org", "no", environment={"SMSD_KEY": KEY})


def test_a_secret_on_the_command_line_comes_first() -> None:
    assert parsed("--secret", "another-secret-1")["secret"] == "another-secret-1"


def test_the_help_says_why_the_environment_is_better() -> None:
    text = " ".join(str(PhoneOptions({})).split())
    assert "better given in the environment as SMSD_SECRET, because ps shows" in text


def test_the_help_never_shows_the_secret() -> None:
    assert SECRET["SMSD_SECRET"] not in str(PhoneOptions(SECRET))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("ws://127.0.0.1:8080", "ws://127.0.0.1:8080/websocket"),
        ("http://127.0.0.1:8080/", "ws://127.0.0.1:8080/websocket"),
        ("https://sms.example.org", "wss://sms.example.org/websocket"),
        ("wss://sms.example.org/gateway/websocket", "wss://sms.example.org/gateway/websocket"),
        ("HTTP://[::1]:8080", "ws://[::1]:8080/websocket"),
    ],
)
def test_a_url_is_completed(given: str, meant: str) -> None:
    assert parsed("--url", given)["url"] == meant


def test_a_number_is_cleaned() -> None:
    assert parsed("--number", "+1 (555) 010-0001")["number"] == "+15550100001"


def test_a_sim_may_not_know_its_number() -> None:
    assert parsed("--number", "")["number"] == ""


def test_numbers_are_numbers_afterwards() -> None:
    options = parsed("--slot", "15", "--delay", "1.5", "--fail-every", "3")
    assert [options[name] for name in ("slot", "delay", "fail-every")] == [15, 1.5, 3]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--slot", "16"], "--slot '16': a whole number from 0 to 15"),
        (["--slot", "-1"], "--slot '-1'"),
        (["--slot", "x"], "--slot 'x'"),
        (["--fail-every", "-2"], "--fail-every '-2'"),
        (["--delay", "-1"], "--delay '-1': seconds"),
        (["--delay", "nan"], "--delay 'nan'"),
        (["--delay", "soon"], "--delay 'soon'"),
        (["--number", "home"], "--number 'home': a number has 2 to 20 digits"),
        (["--device-id", ""], "--device-id must have 1 to 64"),
        (["--device-id", "x" * 65], "--device-id must have 1 to 64"),
        (["--ledger", ""], "--ledger must be the name of a file"),
        (["--url", "ftp://x"], "--url 'ftp://x': it must look like"),
        (["--url", "127.0.0.1:8080"], "it must look like"),
        (["--url", "ws://"], "it must look like"),
        (["--url", "ws://host:99999"], "Port out of range"),
        (["--url", "ws://host:0"], "0 is no port"),
        (["--url", "ws://[::1"], "Invalid IPv6 URL"),
        (["--url", "ws://a..b"], "it must look like"),
        (["--url", "ws://me:pass@host"], "without user"),
        (["--url", "ws://host/?a=b"], "without user, query"),
        (["--url", "ws://host/a b"], "plain ASCII"),
        (["--org", "no"], "--org must have 3 to 64"),
        (["--secret", "short"], "the secret must have 12 to 50"),
        (["hello"], "'hello' is no option"),
        (["--colour"], "option --colour not recognized"),
    ],
)
def test_a_wrong_option_is_told_in_one_clear_line(argv: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(*argv)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_secret_says_where_it_belongs() -> None:
    with pytest.raises(UsageError, match="set SMSD_SECRET"):
        parsed(environment={})


def test_a_missing_org_is_told() -> None:
    with pytest.raises(UsageError, match="--org is missing"):
        PhoneOptions(SECRET).parseOptions([])
