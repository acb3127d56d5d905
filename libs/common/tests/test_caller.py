"""What a caller may do follows from role and scopes."""

import pytest

from docuchat_common.contracts.permissions import Action
from docuchat_common.http.caller import NO_TENANT, Caller, NotAllowed
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
