"""Errors of sharing."""

from __future__ import annotations

from docuchat_common.errors import Conflict, NotFound


class ShareNotFound(NotFound):
    """This link leads nowhere: it is wrong, has expired, was revoked, or is for others."""

    code = "share_not_found"


class NothingToShare(Conflict):
    """This chat has no message yet."""

    code = "nothing_to_share"


class TooManyShares(Conflict):
    """This chat has as many links as one may; revoke one."""

    code = "too_many_shares"
