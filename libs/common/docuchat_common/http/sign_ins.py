"""What a stolen token must not do: whatever outlives a token or destroys needs a person who signed in just now."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from docuchat_common.errors import Forbidden
from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.ids import made_at

_RECENT: Final = timedelta(minutes=15)


class RecentSignInRequired(Forbidden):
    """This needs a sign-in of the last 15 minutes; sign in again, then repeat it with the new token."""

    code = "recent_sign_in_required"


def require_person(caller: Caller) -> None:
    """Raise NotAllowed for whoever is no user: a stolen key could not be taken back from who made others with it."""
    if caller.user_id is None:
        raise NotAllowed("A key makes no keys; sign in as a user.")


def find_recent(caller: Caller, moment: datetime) -> UUID | None:
    """Return the session of a user who asks, which began a short while ago; None where there is none.

    Refreshing does not make it younger: whoever has stolen a token cannot change how its user signs in.
    """
    if caller.user_id is None or caller.session_id is None or moment - made_at(caller.session_id) > _RECENT:
        return None
    return caller.session_id


def require_recent(caller: Caller, moment: datetime) -> UUID:
    """As `find_recent`. Raises RecentSignInRequired."""
    session_id = find_recent(caller, moment)
    if session_id is None:
        raise RecentSignInRequired
    return session_id
