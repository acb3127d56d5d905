"""What is added to a user who has been removed meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from docuchat_auth.users.errors import UserGone


@contextmanager
def user_still_there() -> Iterator[None]:
    """Raise UserGone for a row whose user is not there any more: who was found before may be removed since."""
    try:
        yield
    except asyncpg.ForeignKeyViolationError as error:
        if not (error.constraint_name or "").endswith("_user_fkey"):
            raise
        raise UserGone from error
