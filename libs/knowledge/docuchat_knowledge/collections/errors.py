"""Errors of collections."""

from __future__ import annotations

from docuchat_common.errors import NotFound


class CollectionNotFound(NotFound):
    """There is no such collection."""

    code = "collection_not_found"
