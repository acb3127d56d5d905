"""What goes on beside the requests: what is looked after once an hour, and mail."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Any, Final

from docuchat_auth.audit.service import AuditLog
from docuchat_auth.container import People
from docuchat_auth.ground import Ground
from docuchat_auth.mail import DeliveryQueue, M
from docuchat_auth.members.service import Members
from docuchat_auth.signing_keys.service import KeyRing
from docuchat_common.background import Background
from docuchat_common.clock import Clock
from docuchat_common.db import UnitOfWork
from docuchat_common.idempotency import KEY_LIFE

_EVERY: Final = timedelta(hours=1)
_DRAIN: Final = timedelta(seconds=10)


def start_sweeps(background: Background, ground: Ground, people: People, audit: AuditLog) -> None:
    """Look after each of these every hour."""
    settings, keys, clock = ground.settings, ground.keys, ground.clock
    sweeps: Mapping[str, Callable[[], Awaitable[object]]] = {
        "refresh_tokens": ground.sessions.forget_expired,
        "idempotency_keys": partial(_forget_keys, ground.uow),
        "revisions": ground.revisions.forget_expired,
        "invitations": partial(people.invitations.forget_expired, settings.expired_invitations_kept),
        "unproven_accounts": partial(_forget_unproven, people.members, clock, settings.unproven_accounts_kept),
        "audit": partial(audit.forget, settings.audit_retention),
        "signing_keys": partial(_rotate_keys, keys, settings.signing_key_rotation),
    }
    for name, work in sweeps.items():
        background.every(f"{name}.sweep", _EVERY, work)


def start_mail(
    stack: AsyncExitStack,
    background: Background,
    queue: DeliveryQueue[M],
    deliver: Callable[[M], Awaitable[None]],
    workers: int,
) -> None:
    """Deliver what is queued; leaving `stack` gives what is left some time."""
    for number in range(workers):
        background.start(f"{queue.name}.delivery.{number}", partial(queue.deliver, deliver))
    stack.push_async_callback(queue.drain, _DRAIN)


async def _forget_keys(uow: UnitOfWork[Any]) -> None:
    """Forget Idempotency-Keys that are older than they are kept."""
    async with uow.system() as tx:
        await tx.requests.forget(KEY_LIFE)


async def _forget_unproven(members: Members, clock: Clock, kept: timedelta | None) -> None:
    """Remove who registered, never proved the address and has not signed in for so long; None: nobody."""
    if kept is not None:
        await members.forget_unproven(clock.now() - kept)


async def _rotate_keys(keys: KeyRing, age: timedelta | None) -> None:
    """Replace the signing key at this age; None: never."""
    if age is not None:
        await keys.rotate_when_due(age)
