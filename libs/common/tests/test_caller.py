"""What a caller may do follows from role and scopes."""

import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from docuchat_common.contracts.permissions import CHATBOT, PERMISSIONS, PERSONAL, VISITOR, Action, Role
from docuchat_common.http.caller import NO_TENANT, Caller, NotAllowed, SecondFactorRequired
from docuchat_common.http.permissions import Resource, may
from docuchat_common.ids import TenantId, uuid7

ONE = TenantId(1)


@pytest.mark.parametrize(
    ("role", "action", "allowed"),
    [
        ("member", "documents.read", True),
        ("member", "chats.use", True),
        ("member", "documents.manage", False),
        ("member", "keys.use", True),
        ("viewer", "chats.use", True),
        ("viewer", "documents.add", False),
        ("viewer", "keys.use", False),
        ("admin", "users.manage", True),
        ("admin", "tenant.own", False),
        ("owner", "tenant.own", True),
        ("admin", "documents.manage", True),
        ("owner", "usage.manage", True),
        ("stranger", "documents.read", False),
        (None, "documents.read", False),
    ],
)
def test_a_role_allows_what_its_line_says(role: str | None, action: Action, allowed: bool) -> None:
    assert Caller(ONE, "user", uuid7(), role=role).can(action) is allowed


def test_scopes_narrow_a_role_and_never_widen_it() -> None:
    key = Caller(ONE, "key", uuid7(), role="member", scopes=frozenset({"chats.use", "documents.manage"}))
    assert key.can("chats.use")
    assert not key.can("documents.read")
    assert not key.can("documents.manage")
    with pytest.raises(NotAllowed):
        key.require("documents.read")


def test_no_key_does_what_is_for_people() -> None:
    scopes = frozenset({"identity.manage", "directory.sync"})
    key = Caller(ONE, "key", uuid7(), role="admin", scopes=scopes)
    assert key.can("directory.sync") and not key.can("identity.manage")
    assert Caller(ONE, "key", uuid7(), role="owner").can("identity.manage") is False
    assert Caller(ONE, "user", uuid7(), role="admin").can("identity.manage")
    assert Caller(ONE, "key", uuid7(), role="owner").can("providers.manage") is False
    assert Caller(ONE, "user", uuid7(), role="admin").can("providers.manage")


def test_who_must_set_up_a_second_factor_first_is_told_so_and_may_nothing_else() -> None:
    scopes = frozenset({"account.use"})
    member = Caller(ONE, "user", uuid7(), role="member", scopes=scopes)
    member.require("account.use")
    with pytest.raises(SecondFactorRequired):
        member.require("documents.read")
    with pytest.raises(NotAllowed):  # nor would it with one
        member.require("users.manage")
    with pytest.raises(NotAllowed):
        Caller(ONE, "key", uuid7(), role="member", scopes=scopes).require("documents.read")


def test_only_a_user_has_a_user_id() -> None:
    subject = uuid7()
    assert Caller(ONE, "user", subject, role="member").user_id == subject
    assert Caller(ONE, "key", subject, role="member").user_id is None


def test_callers_of_different_kinds_and_tenants_never_share_a_name() -> None:
    subject = uuid7()
    callers = [Caller(ONE, "user", subject), Caller(ONE, "key", subject), Caller(TenantId(2), "user", subject)]
    assert len({caller.subject for caller in [*callers, Caller(NO_TENANT, "operator", subject)]}) == 4


def test_nobody_may_do_anything_to_what_is_another_tenants() -> None:
    owner = Caller(ONE, "user", uuid7(), role="owner")
    assert may(owner, "documents.add", Resource(ONE, uuid7()))
    assert not may(owner, "documents.add", Resource(TenantId(2), uuid7()))
    assert not may(owner, "documents.add", Resource(TenantId(2), owner.subject_id))


def test_a_users_key_pays_and_makes_for_its_user_and_a_services_for_the_tenant() -> None:
    key, user = uuid7(), uuid7()
    of_user = Caller(ONE, "key", key, role="member", owner_id=user)
    of_tenant = Caller(ONE, "key", key, role="member")
    person = Caller(ONE, "user", user, role="member")
    assert (of_user.subjects, of_user.maker_id) == ((("key", key), ("user", user)), user)
    assert (of_tenant.subjects, of_tenant.maker_id) == ((("key", key),), None)
    assert (person.subjects, person.maker_id) == ((("user", user),), user)
    assert Caller(NO_TENANT, "operator", key).subjects == ()
    assert may(of_user, "documents.add", Resource(ONE, user))
    assert not may(of_tenant, "documents.add", Resource(ONE, None))
    assert may(of_tenant, "documents.add", Resource(ONE, key))
    assert not may(of_user, "documents.add", Resource(ONE, key))


def test_a_chatbots_key_and_visitor_pay_with_the_chatbot_and_may_only_ask_it() -> None:
    chatbot, key, visitor = uuid7(), uuid7(), uuid7()
    scopes = frozenset({"chatbots.ask", "chats.follow"})
    program = Caller(ONE, "chatbot", chatbot, role=CHATBOT, scopes=scopes, chatbot_id=chatbot, key_id=key)
    guest = Caller(ONE, "visitor", visitor, role=VISITOR, scopes=scopes, chatbot_id=chatbot)
    assert program.subjects == (("chatbot", chatbot), ("key", key))
    assert guest.subjects == (("visitor", visitor), ("chatbot", chatbot))
    for caller in program, guest:
        allowed = {action for action in get_args(Action) if caller.can(action)}
        assert allowed == (scopes | {"mcp.use", "models.use"} if caller is program else scopes)
        assert caller.user_id is None and caller.service_key_id is None


def test_who_may_ask_may_follow_the_answer() -> None:
    assert Caller(ONE, "key", uuid7(), role="viewer", scopes=frozenset({"chats.use"})).can("chats.follow")
    assert not Caller(ONE, "key", uuid7(), role="viewer", scopes=frozenset({"chats.follow"})).can("chats.use")


@pytest.mark.parametrize("scope", ["chats.use", "chatbots.manage", "chatbots.read"])
def test_who_may_ask_or_manage_chatbots_sees_which_there_are(scope: str) -> None:
    key = Caller(ONE, "key", uuid7(), role="admin", scopes=frozenset({scope}))
    assert key.can("chatbots.read") and key.can("chatbots.manage") == (scope == "chatbots.manage")
    assert key.can("chats.use") == (scope == "chats.use")
    assert not replace(key, scopes=frozenset({"documents.read"})).can("chatbots.read")


def test_the_page_for_operators_has_the_table_of_roles() -> None:
    page = (Path(__file__).parents[3] / "docs" / "identity.md").read_text()
    printed = re.findall(r"^\| `([a-z.]+)` \|((?: x? ?\|){6})$", page, re.MULTILINE)
    marks = {action: [cell.strip() == "x" for cell in cells.split("|")[:-1]] for action, cells in printed}
    assert marks == {
        action: [
            *(action in PERMISSIONS[role] for role in Role),
            action not in PERSONAL and any(action in PERMISSIONS[role] for role in Role),
            action in PERMISSIONS[CHATBOT],
        ]
        for action in get_args(Action)
    }
    assert PERMISSIONS[CHATBOT] - PERMISSIONS[VISITOR] == {"mcp.use", "models.use"}
    assert PERMISSIONS[VISITOR] < PERMISSIONS[CHATBOT]
