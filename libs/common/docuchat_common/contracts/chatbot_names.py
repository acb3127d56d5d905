"""Which chatbots there are, as chat tells the gateway and the worker, with `X-Internal-Token`.

The gateway asks before it takes a document in for one, the worker before it deletes what one has left.
"""

from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from docuchat_common.ids import TenantId

PATH: Final = "/internal/chatbots/{chatbot_id}"
GONE_PATH: Final = "/internal/chatbots/gone"
MOST: Final = 1000


def path_of(tenant_id: TenantId, chatbot_id: UUID) -> str:
    """Where chat tells of one chatbot of a tenant; 404 when it has none of this id."""
    return f"{PATH.format(chatbot_id=chatbot_id)}?tenant_id={int(tenant_id)}"


class ChatbotName(BaseModel):
    """A chatbot that is there."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str


class ChatbotIds(BaseModel):
    """Some chatbots of one tenant: those that are asked about, or those of them that are gone."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    tenant_id: Annotated[int, Field(ge=1, lt=1 << 63)]
    chatbot_ids: Annotated[tuple[UUID, ...], Field(max_length=MOST)]
