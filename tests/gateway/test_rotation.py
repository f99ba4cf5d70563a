"""An org sets another secret: which works on, who hears of it and when, who may do it."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import HOME, ORG, PEPPER, SECRET, STRANGER, WRONG, Node, made_org, soon, sql, together

from smsd.domain.credentials import Credentials
from smsd.domain.errors import Invalid, Superseded, Unauthorised
from smsd.domain.pepper import Pepper
from smsd.gateway.rotation import Rotation

NEW = "secret-of-tomorrow"


def rotation(node: Node, pepper: Pepper = PEPPER) -> Rotation:
    return Rotation(node.database, node.doorman, pepper, node.hashing)


async def rotate(node: Node, new: str = NEW, grace: int = 0, *, old: str = SECRET):
    """What the org's own call does."""
    keys = rotation(node)
    keeper = await soon(keys.keeper(Credentials(ORG, old), HOME))
    return await soon(keys.rotate(keeper, new, grace))


@pytest_twisted.ensureDeferred
async def test_the_new_secret_opens_and_the_old_one_no_more(node, database):
    await made_org(database)
    assert await node.answer() == "Caller"
    assert await rotate(node) is None
    assert await node.answer(NEW) == "Caller"
    assert await node.answer() == "Unauthorised"


@pytest_twisted.ensureDeferred
async def test_for_the_grace_both_open_and_no_longer(node, database, clock):
    await made_org(database)
    assert await rotate(node, grace=60) is not None
    assert await node.answer(NEW) == await node.answer() == "Caller"
    await sql(database, "UPDATE orgs SET old_until = now()")
    clock.advance(1.1)
    assert await node.answer() == "Unauthorised"
    assert await node.answer(NEW) == "Caller"


@pytest_twisted.ensureDeferred
async def test_another_node_hears_of_it_within_a_second(node, database, clock, hashing):
    await made_org(database)
    other = Node(database, clock, name="node-2", hashing=hashing)
    assert await other.answer() == "Caller"
    await rotate(node)
    clock.advance(1.1)
    assert await other.answer() == "Unauthorised"
    assert await other.answer(NEW) == "Caller"


@pytest_twisted.ensureDeferred
async def test_a_secret_in_its_grace_may_set_no_other(node, database):
    await made_org(database)
    await rotate(node, grace=60)
    with pytest.raises(Superseded):
        await rotate(node, "secret-of-a-thief")
    assert await node.answer(NEW) == "Caller"
    assert await node.answer("secret-of-a-thief") == "Unauthorised"


@pytest_twisted.ensureDeferred
async def test_of_two_rotations_at_once_one_counts_and_the_other_hears_so(node, database):
    await made_org(database)
    outcomes = await together(rotate(node, "secret-of-one", 60), rotate(node, "secret-of-two", 60))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Superseded", "datetime"]
    answers = [await node.answer(secret) for secret in ("secret-of-one", "secret-of-two")]
    assert sorted(answers) == ["Caller", "Unauthorised"]


@pytest.mark.parametrize(
    "secret", [SECRET, " space-in-front", "eleven-char", "x" * 51, "with\tcontrol-inside"]
)
@pytest_twisted.ensureDeferred
async def test_what_can_be_no_new_secret_changes_nothing(node, database, secret):
    await made_org(database)
    with pytest.raises(Invalid) as refused:
        await rotate(node, secret)
    assert [fault.loc for fault in refused.value.errors] == [["new_secret_key"]]
    assert await node.answer() == "Caller"


@pytest_twisted.ensureDeferred
async def test_a_wrong_secret_counts_against_the_lock_and_sets_nothing(node, database):
    await made_org(database)
    with pytest.raises(Unauthorised):
        await rotate(node, old=f"{WRONG}1234567890")
    assert await sql(database, "SELECT count(*) FROM auth_failures") == [(1,)]
    assert await node.answer() == "Caller"


@pytest_twisted.ensureDeferred
async def test_whoever_rotates_while_the_org_is_locked_is_let_in_with_the_new_secret(
    node, database
):
    await made_org(database)
    assert await node.answer() == "Caller"
    for number in range(10):
        assert await node.answer(f"{WRONG}{number:010}", STRANGER) == "Unauthorised"
    assert await node.answer(SECRET, STRANGER) == "Locked"
    await rotate(node)
    assert await node.answer(NEW) == "Caller"
    assert await node.answer(NEW, STRANGER) == "Locked"


@pytest_twisted.ensureDeferred
async def test_phones_that_are_on_line_stay(node, database):
    await made_org(database)
    phone = await node.come()
    await rotate(node)
    await node.upkeep.dismiss_closed()
    await node.send()
    await node.settled()
    assert (phone.pushed, phone.closed) == ([1], [])


@pytest_twisted.ensureDeferred
async def test_a_secret_is_in_no_representation(node, database):
    await made_org(database)
    keeper = await soon(rotation(node).keeper(Credentials(ORG, SECRET), HOME))
    assert repr(keeper.seal) not in repr(keeper)
