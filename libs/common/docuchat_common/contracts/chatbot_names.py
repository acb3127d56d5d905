"""Which chatbots there are: the gateway asks chat before it takes a document in for one, with `X-Internal-Token`."""

from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from docuchat_common.ids import TenantId

PATH: Final = "/internal/chatbots/{chatbot_id}"


def path_of(tenant_id: TenantId, chatbot_id: UUID) -> str:
    """Where chat tells of one chatbot of a tenant; 404 when it has none of this id."""
    return f"{PATH.format(chatbot_id=chatbot_id)}?tenant_id={int(tenant_id)}"


class ChatbotName(BaseModel):
    """A chatbot that is there."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
