"""Errors of jobs."""

from __future__ import annotations

from docuchat_common.errors import Conflict, InvalidInput


class ClaimLost(Conflict):
    """The document was deleted or taken over by another worker."""

    code = "claim_lost"


class ChunksOutOfOrder(InvalidInput):
    """Chunks must be written in order, without a gap."""

    code = "chunks_out_of_order"
