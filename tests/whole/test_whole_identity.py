"""Contract section 1 over the wire: who may come in, who may claim, and whom the lock keeps out."""

from __future__ import annotations

import base64
import secrets
import threading
import time
from collections import Counter
from urllib.parse import quote

import pytest
import requests
from canaries import canaries
from daemon import Daemon
from visitors import Agent, Org, calling, new_address, problem, refused

pytestmark = pytest.mark.whole

WRONG = canaries.note("surely-not-the-secret")


def stranger(org: Org, address: str | None = None) -> Org:
    """Somebody who guesses, at an address of their own."""
    return Org(org.url, org.id, canaries.secret(), address or new_address())


def guess(org: Org, times: int) -> list[requests.Response]:
    guesser = stranger(org)
    with guesser.agent:
        return [guesser.agent.get(f"/messages/{org.id}") for _ in range(times)]


def lock(org: Org) -> None:
    assert {answer.status_code for answer in guess(org, 10)} == {401}


# -- claim --


def test_the_first_webhook_claims_the_org_together_with_its_messages(free: Org) -> None:
    sms = free.sms()
    assert free.store(sms).json() == {"ok": True, "org_id": free.id, "stored": 1}
    assert [row["body"] for row in free.read()] == [sms["body"]]


def test_the_first_upgrade_claims_the_org(free: Org) -> None:
    with free.phone():
        assert free.read() == []


def test_the_first_auth_frame_claims_the_org(free: Org, gateway: Daemon) -> None:
    with calling(gateway.socket_url) as phone:
        phone.say(type="auth", org_id=free.id, secret_key=free.secret)
        assert phone.hear() == {"type": "connected", "org_id": free.id}
    assert free.read() == []


@pytest.mark.parametrize("path", ["/messages/{}", "/sims/{}"])
def test_reading_never_claims(free: Org, path: str) -> None:
    problem(free.agent.get(path.format(free.id)), 401)
    with Org(free.url, free.id).claim().agent:
        problem(free.agent.get(path.format(free.id)), 401)


def test_sending_never_claims(free: Org) -> None:
    problem(free.post(to=canaries.number(), body=canaries.text()), 401)
    with Org(free.url, free.id).claim().agent:
        pass


def test_a_refused_body_never_claims(free: Org) -> None:
    problem(free.store({"address": canaries.number()}), 422)
    with Org(free.url, free.id).claim().agent:
        pass


def test_of_two_first_uses_at_once_one_wins_and_the_others_are_checked_against_it(
    gateway: Daemon,
) -> None:
    name = f"org-{secrets.token_hex(5)}"
    rivals = [Org(gateway.url, name, address=new_address()) for _ in range(6)]
    answers: dict[str, int] = {}

    def rush(rival: Org) -> None:
        with rival.agent:
            answers[rival.secret] = rival.store(rival.sms()).status_code

    threads = [threading.Thread(target=rush, args=(rival,)) for rival in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Counter(answers.values()) == {200: 1, 401: 5}
    (winner,) = (rival for rival in rivals if answers[rival.secret] == 200)
    with Org(gateway.url, name, winner.secret).agent as agent:
        assert agent.get(f"/messages/{name}").json()["count"] == 1


def test_a_claim_of_the_wrong_shape_is_told_what_would_be_right(agent: Agent) -> None:
    body = {"org_id": "no", "secret_key": "short", "messages": []}
    told = problem(agent.post("/webhook", json=body), 422)
    assert [fault["loc"] for fault in told["errors"]] == [["org_id"], ["secret_key"]]
    assert all(fault["msg"] for fault in told["errors"])


@pytest.mark.parametrize(("name", "secret"), [(3, 50), (64, 12)])
def test_ids_and_secrets_at_the_ends_of_their_ranges_are_good(
    gateway: Daemon, name: int, secret: int
) -> None:
    drawn = canaries.note(secrets.token_urlsafe(60)[: secret - 1] + "é")
    org = Org(gateway.url, f"{secrets.token_hex(40)}-_Z"[-name:], drawn)
    if name == 3:
        org.id = secrets.token_hex(2)[:3]
    with org.agent as agent:
        agent.headers["X-Secret-Key"] = org.secret.encode()  # type: ignore[assignment]
        org.claim()


@pytest.mark.parametrize(
    "org_id", ["ab", "x" * 65, "with space", "ümlaut", "dot.dot", "slash/slash", "abc\n", ""]
)
def test_an_org_id_of_another_shape_cannot_be_claimed(agent: Agent, org_id: str) -> None:
    body = {"org_id": org_id, "secret_key": canaries.secret(), "messages": []}
    told = problem(agent.post("/webhook", json=body), 422)
    assert [fault["loc"] for fault in told["errors"]] == [["org_id"]]


@pytest.mark.parametrize(
    "secret",
    [
        "eleven-char",
        "x" * 51,
        " leading-space",
        "trailing-space ",
        "with\tcontrol",
        "del\x7fdel-del",
    ],
)
def test_a_secret_of_another_shape_cannot_claim(agent: Agent, secret: str) -> None:
    body = {"org_id": f"org-{secrets.token_hex(5)}", "secret_key": secret, "messages": []}
    told = problem(agent.post("/webhook", json=body), 422)
    assert [fault["loc"] for fault in told["errors"]] == [["secret_key"]]


# -- where the secret goes --


ODD = [
    "/",
    "%",
    "%2F",
    "+",
    " inner ",
    "é",
    "密碼",
    "🔑",
    "?",
    "#",
    "&=",
    "..",
    "//",
    ";",
    "\\",
    '"',
]


@pytest.mark.parametrize("odd", ODD)
def test_a_secret_is_itself_in_header_path_and_body(gateway: Daemon, odd: str) -> None:
    org = Org(gateway.url, secret=canaries.secret(odd))
    with org.agent as agent:
        agent.headers["X-Secret-Key"] = org.secret.encode()  # type: ignore[assignment]
        org.claim()
        assert agent.get(f"/messages/{org.id}").status_code == 200
        del agent.headers["X-Secret-Key"]
        body = {"secret_key": org.secret, "to": canaries.number(), "body": canaries.text()}
        assert agent.post(f"/send/{org.id}", json=body).status_code == 200
        for noun in ("messages", "sims"):
            assert agent.get(f"/{noun}/{org.path_form}").status_code == 200
            wrong = quote(org.secret + "x", safe="")
            assert agent.get(f"/{noun}/{org.id}/{wrong}").status_code == 401


@pytest.mark.parametrize("odd", ["/", "%", "+", "é", "&="])
def test_a_secret_is_itself_in_the_url_of_a_socket(gateway: Daemon, odd: str) -> None:
    org = Org(gateway.url, secret=canaries.secret(odd))
    with org.agent, org.phone() as phone:
        assert phone.hear_all_before_pong() == []


def test_org_and_secret_may_be_headers_of_a_socket_and_of_the_webhook(
    org: Org, gateway: Daemon
) -> None:
    headers = {"X-Org-Id": org.id, "X-Secret-Key": org.secret}
    with calling(gateway.socket_url, additional_headers=headers) as phone:
        assert phone.hear() == {"type": "connected", "org_id": org.id}
    answer = org.agent.post("/webhook", json={"messages": []}, headers=headers)
    assert answer.json()["org_id"] == org.id


def test_two_different_values_in_one_request_are_refused(org: Org) -> None:
    other = {"org_id": "another-org", "messages": []}
    problem(org.agent.get(f"/messages/{org.id}/{WRONG}"), 400)
    problem(org.agent.get(f"/messages/{org.id}", headers={"X-Org-Id": "another-org"}), 400)
    problem(org.agent.post("/webhook", json=other, headers={"X-Org-Id": org.id}), 400)
    problem(org.post(secret_key=WRONG, to=canaries.number(), body=canaries.text()), 400)
    headers = {"X-Secret-Key": WRONG}
    assert refused(org.socket_url(), additional_headers=headers).status_code == 400


def test_the_same_value_in_two_places_is_no_contradiction(org: Org) -> None:
    headers = {"X-Org-Id": org.id}
    assert org.agent.get(f"/messages/{org.path_form}", headers=headers).status_code == 200


def test_no_secret_is_401_and_does_not_count(org: Org, gateway: Daemon) -> None:
    with Agent(gateway.url, new_address()) as agent:
        answers = [agent.get(f"/messages/{org.id}") for _ in range(12)]
        assert {answer.status_code for answer in answers} == {401}
        assert agent.get(f"/messages/{org.path_form}").status_code == 200


def test_basic_auth_is_not_a_secret(org: Org, gateway: Daemon) -> None:
    word = base64.b64encode(f"{org.id}:{org.secret}".encode()).decode()
    canaries.note(word)
    with Agent(gateway.url) as agent:
        answer = agent.get(f"/messages/{org.id}", headers={"Authorization": f"Basic {word}"})
        assert problem(answer, 401)
        assert "WWW-Authenticate" in answer.headers


# -- refusals --


def test_wrong_secret_unknown_org_and_wrong_shape_read_the_same(org: Org) -> None:
    with Agent(org.url, new_address()) as agent:
        agent.headers["X-Secret-Key"] = WRONG
        wrong = agent.get(f"/messages/{org.id}")
        unknown = agent.get(f"/messages/org-{secrets.token_hex(5)}")
        misshapen = agent.get("/messages/no", headers={"X-Secret-Key": "x"})
    assert {answer.status_code for answer in (wrong, unknown, misshapen)} == {401}
    assert wrong.content == unknown.content == misshapen.content
    assert wrong.headers.keys() == unknown.headers.keys() == misshapen.headers.keys()


def test_another_orgs_secret_opens_nothing(org: Org, gateway: Daemon) -> None:
    other = Org(gateway.url, address=new_address()).claim()
    org.store(org.sms())
    with other.agent as agent:
        problem(agent.get(f"/messages/{org.id}"), 401)
        problem(agent.get(f"/sims/{org.id}"), 401)
        body = {"to": canaries.number(), "body": canaries.text()}
        problem(agent.post(f"/send/{org.id}", json=body), 401)
        problem(agent.post("/webhook", json={"org_id": org.id, "messages": []}), 401)
        assert other.read() == []


# -- the lock --


def test_the_tenth_wrong_secret_is_401_and_then_everybody_is_kept_waiting(org: Org) -> None:
    answers = guess(org, 12)

    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 2
    told = problem(answers[-1], 429)
    assert told["type"].endswith("locked")
    assert 290 <= int(answers[-1].headers["Retry-After"]) <= 300
    with org.at(new_address()).agent as late:  # the right secret at an unknown address
        answer = late.get(f"/messages/{org.id}")
        assert problem(answer, 429)
        assert 290 <= int(answer.headers["Retry-After"]) <= 300


def test_attempts_during_a_lock_do_not_extend_it(org: Org) -> None:
    lock(org)
    until = time.monotonic() + 300
    last = guess(org, 15)[-1]
    assert int(last.headers["Retry-After"]) <= until - time.monotonic() + 1


def test_an_address_where_the_secret_was_right_is_let_in_during_a_lock(org: Org) -> None:
    lock(org)
    assert org.read() == []
    with org.phone() as phone:
        assert phone.hear_all_before_pong() == []


def test_a_known_address_that_fails_is_a_stranger_again(org: Org) -> None:
    problem(org.agent.get(f"/messages/{org.id}", headers={"X-Secret-Key": WRONG}), 401)
    lock_rest = guess(org, 9)
    assert {answer.status_code for answer in lock_rest} == {401}
    problem(org.agent.get(f"/messages/{org.id}"), 429)


def test_a_right_secret_forgets_the_failures_of_its_own_address_only(org: Org) -> None:
    guess(org, 5)
    owner = org.at(new_address())
    with owner.agent as agent:
        for _ in range(4):
            problem(agent.get(f"/messages/{org.id}", headers={"X-Secret-Key": WRONG}), 401)
        assert agent.get(f"/messages/{org.id}").status_code == 200
    assert [answer.status_code for answer in guess(org, 6)] == [401] * 5 + [429]


def test_a_secret_of_the_wrong_shape_counts(org: Org) -> None:
    with Agent(org.url, new_address()) as agent:
        answers = [
            agent.get(f"/messages/{org.id}", headers={"X-Secret-Key": "x"}).status_code
            for _ in range(11)
        ]
    assert answers == [401] * 10 + [429]


def test_every_way_in_counts_and_every_way_in_is_locked(org: Org, gateway: Daemon) -> None:
    bad = stranger(org)
    with bad.agent:
        for _ in range(2):
            problem(bad.agent.get(f"/messages/{bad.path_form}"), 401)
            problem(bad.store(), 401)
            problem(bad.post(to=canaries.number(), body=canaries.text()), 401)
            assert refused(bad.socket_url(), bad.address).status_code == 401
            with calling(gateway.socket_url, bad.address) as phone:
                phone.say(type="auth", org_id=org.id, secret_key=bad.secret)
                assert phone.hear()["type"] == "error"
                assert phone.end()[0] == 4401
        problem(bad.agent.get(f"/sims/{org.id}"), 429)
        problem(bad.store(), 429)
        refusal = refused(bad.socket_url(), bad.address)
        assert refusal.status_code == 429
        assert 290 <= int(refusal.headers["Retry-After"]) <= 300
        assert refusal.headers["Content-Type"] == "application/problem+json"
        with calling(gateway.socket_url, bad.address) as phone:
            phone.say(type="auth", org_id=org.id, secret_key=bad.secret)
            assert phone.hear()["code"] == "locked"
            assert phone.end()[0] == 4429


def test_parallel_guesses_do_not_beat_the_count(org: Org) -> None:
    answers: list[int] = []

    def guess_once() -> None:
        bad = stranger(org)
        with bad.agent:
            answers.append(bad.agent.get(f"/messages/{org.id}").status_code)

    threads = [threading.Thread(target=guess_once) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(answers) == {401: 10, 429: 30}


def test_unknown_orgs_are_not_counted(gateway: Daemon) -> None:
    nobody = Org(gateway.url, address=new_address())
    with nobody.agent as agent:
        answers = {agent.get(f"/messages/{nobody.id}").status_code for _ in range(15)}
        assert answers == {401}
        nobody.claim()


def test_phones_on_line_work_on_and_no_other_org_notices(org: Org, gateway: Daemon) -> None:
    other = Org(gateway.url, address=new_address()).claim()
    away = org.at(new_address())
    with other.agent, away.agent, away.phone() as phone:
        lock(org)
        text = canaries.text()
        assert phone.receive(text) == {"type": "inbound_ack", "stored": 1}
        ticket = org.ticket()
        assert phone.hear()["id"] == ticket
        phone.confirm(ticket)
        assert org.settled(ticket)["status"] == "sent"
        assert other.read() == []


def test_a_guesser_and_an_owner_who_reads(org: Org) -> None:
    """The owner, at a known address, is served throughout, while at most ten guesses are tried."""
    stop = threading.Event()
    guesses: Counter[int] = Counter()

    def guess_on() -> None:
        bad = stranger(org)
        with bad.agent:
            while not stop.is_set():
                guesses[bad.agent.get(f"/messages/{org.id}").status_code] += 1

    guesser = threading.Thread(target=guess_on)
    guesser.start()
    try:
        for _ in range(60):
            assert org.read() == []
    finally:
        stop.set()
        guesser.join()
    assert guesses[401] <= 10
    assert set(guesses) <= {401, 429}
