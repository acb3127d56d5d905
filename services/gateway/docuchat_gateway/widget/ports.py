"""What the widget needs of the world."""

from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID


class SeenChatbots(Protocol):
    """Chatbots as a caller sees them."""

    async def get_seen(self, chatbot_id: UUID, token: str) -> Mapping[str, Any]:
        """A chatbot as `GET /v1/chatbots/{id}` shows it to the holder of this access token.

        Raises what that raises, ChatbotNotFound for example, and UpstreamUnavailable.
        """
