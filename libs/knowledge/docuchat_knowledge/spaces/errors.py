"""Errors of embedding spaces."""

from __future__ import annotations

from docuchat_common.errors import NotFound


class SpaceUnknown(NotFound):
    """The embedding space is not set up: run `python -m docuchat_knowledge ensure-space` as the migration job does."""

    code = "embedding_space_unknown"
