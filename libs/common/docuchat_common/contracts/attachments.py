"""Which attachments are in no chat: the worker asks chat before it deletes them, with `X-Internal-Token`."""

from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

UNUSED_PATH: Final = "/internal/attachments/unused"
MOST: Final = 1000


class Attachments(BaseModel):
    """Some attachments of one tenant."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    tenant_id: Annotated[int, Field(ge=1, lt=1 << 63)]
    document_ids: Annotated[tuple[UUID, ...], Field(max_length=MOST)]
