"""What is looked after once an hour."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from docuchat_auth.members.service import Members
from docuchat_auth.signing_keys.service import KeyRing
from docuchat_common.background import Background
from docuchat_common.clock import Clock
from docuchat_common.db import UnitOfWork
from docuchat_common.idempotency import KEY_LIFE

_EVERY: Final = timedelta(hours=1)


def sweep(background: Background, sweeps: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
    """Do each of them every hour."""
    for name, work in sweeps.items():
        background.every(f"{name}.sweep", _EVERY, work)


async def forget_keys(uow: UnitOfWork[Any]) -> None:
    """Forget Idempotency-Keys that are older than they are kept."""
    async with uow.system() as tx:
        await tx.requests.forget(KEY_LIFE)


async def forget_unproven(members: Members, clock: Clock, kept: timedelta | None) -> None:
    """Remove who registered, never proved the address and has not signed in for so long; None: nobody."""
    if kept is not None:
        await members.forget_unproven(clock.now() - kept)


async def rotate_keys(keys: KeyRing, age: timedelta | None) -> None:
    """Replace the signing key at this age; None: never."""
    if age is not None:
        await keys.rotate_when_due(age)
