"""The audit log: an act adds its entry to the outbox of its own transaction, and auth books it into a chain.

Nothing waits for the booking. An entry has ids and names of ours: no address of mail, and no text of a user.
"""

from collections.abc import Callable
from typing import Any, Final, Literal, TypeVar

import structlog

from docuchat_common.acts import Act, current_act
from docuchat_common.events.catalogue import AuditRecorded, AuditResult
from docuchat_common.http.caller import NO_TENANT, Caller
from docuchat_common.ids import TenantId

logger = structlog.get_logger()

EXTENSION: Final = "x-audit"
"""Where the OpenAPI document says under which name an operation is in the audit log."""
_STRICT: Final = frozenset({"local", "test"})

_F = TypeVar("_F", bound=Callable[..., Any])


class AuditMismatch(RuntimeError):
    """An operation succeeded without exactly one audit entry."""


def audited(name: str) -> Callable[[_F], _F]:
    """Say under which name a route is in the audit log: each success of it writes exactly one entry."""

    def mark(function: _F) -> _F:
        vars(function)["audited"] = name
        return function

    return mark


def entry(
    caller: Caller | None,
    name: str,
    object_id: object = None,
    *,
    object_type: str | None = None,
    tenant_id: TenantId | None = None,
    result: AuditResult = "done",
    detail: str | None = None,
    by: Literal["command", "retention", "removal"] = "command",
) -> AuditRecorded:
    """The entry of an act, for `tx.outbox.add`.

    `name` is what its route says by `audited`; what stands before the dot is the object's type unless one is given.
    `tenant_id` is the transaction's, where that is not the caller's. `detail` are facts in words of ours.

    Without a `caller` it is the request's. Where there is no request, `by` says whose act it was: a command of the
    operator's, what a tenant has chosen for how long things are kept, or that the user, chatbot or chat is gone that it
    was of.
    """
    act = current_act()
    if caller is None and act is not None and isinstance(act.caller, Caller):
        caller = act.caller
    if tenant_id is None:
        tenant_id = NO_TENANT if caller is None else caller.tenant_id
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return AuditRecorded(
        tenant_id=tenant_id,
        subject_type=by if caller is None else caller.subject_type,
        subject_id=None if caller is None else caller.subject_id,
        action=name,
        object_type=object_type or name.partition(".")[0],
        object_id=None if object_id is None else str(object_id).replace("\x00", "")[:200],
        result=result,
        address=None if act is None else act.address(),
        request_id=request_id if isinstance(request_id, str) else None,
        detail=detail,
    )


def assert_told(act: Act, environment: str) -> None:
    """Hold a request that succeeded to its one entry, besides those of its parts.

    Where users are served a mismatch is logged, not raised.
    """
    own = [name for name in act.written if name not in act.parts]
    if own == [act.name] or (act.is_excused and not own):
        return
    if act.is_doubtful and set(own) == {act.name}:
        return
    logger.error("audit.mismatch", act=act.name, written=act.written)
    if environment in _STRICT:
        raise AuditMismatch(f"{act.name} wrote the audit entries {act.written}")
