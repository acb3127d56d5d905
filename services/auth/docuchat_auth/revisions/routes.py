"""HTTP: what gateways ask to know who may still come."""

from typing import Annotated

from fastapi import APIRouter, Query

from docuchat_auth.revisions.service import Revisions
from docuchat_common.contracts.revisions import PAGE, PATH, RevisionPage
from docuchat_common.http.identity import InternalCaller
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.provided import provided

router = APIRouter(route_class=JsonRoute, dependencies=[InternalCaller], include_in_schema=False)


@router.get(PATH)
async def list_revisions(
    revisions: Annotated[Revisions, provided("revisions")],
    after: Annotated[str | None, Query(pattern=r"^\d{1,20}:\d{1,20}:[\d,]*$", max_length=20_000)] = None,
    page: Annotated[str | None, Query(pattern=r"^\d{1,10}:[a-z]{1,20}:[0-9a-f-]{1,40}$")] = None,
    limit: Annotated[int | None, Query(ge=1, le=PAGE)] = None,
) -> RevisionPage:
    """What became visible since the answer with this `after`; without one, all that is not forgotten.

    With `limit` in pages: the first one's `after` is what to go on with. A gateway that knows of none is told all.
    """
    return await revisions.list_after(after, page, limit)
