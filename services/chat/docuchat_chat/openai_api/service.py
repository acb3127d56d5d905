"""Which models there are for whom, and what a name of one means."""

from __future__ import annotations

from collections.abc import Sequence

from docuchat_chat.answers.ports import AnswerModels, Priced, ServedModel
from docuchat_chat.chatbots.ports import ChatbotsTx
from docuchat_chat.openai_api.domain import Asked, Model, asked_by, name_of
from docuchat_chat.openai_api.errors import ModelNotFound
from docuchat_common.db.uow import Transactions
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatbotId


class Models:
    """Lists what a caller may ask. A chatbot's key asks its chatbot, and nothing else."""

    def __init__(
        self, transactions: Transactions[ChatbotsTx], models: AnswerModels, embedding: Priced, *, most_chatbots: int
    ) -> None:
        """`embedding`: what embeds texts."""
        self._transactions = transactions
        self._models = models
        self._embedding = embedding
        self._most = most_chatbots

    async def list_models(self, caller: Caller) -> list[Model]:
        """Return the models of a caller, then the chatbots, and what embeds texts."""
        if caller.chatbot_id is not None:
            async with self._transactions(caller.tenant_id) as tx:
                found = await tx.chatbots.find_live(caller.tenant_id, ChatbotId(caller.chatbot_id))
            chatbots = [found[0]] if found is not None and found[1] is not None else []
            served: Sequence[ServedModel] = ()
        else:
            served = await self._models.list_models(caller.tenant_id)
            async with self._transactions(caller.tenant_id) as tx:
                page = await tx.chatbots.page(caller.tenant_id, self._most, None, None, live_only=True)
            chatbots = [edited.chatbot for edited in page]
        embedding = self._embedding
        embeddings = [Model(embedding.model, embedding.model, "embedding", embedding.provider)]
        return [
            *(Model(each.name, each.name, "model", each.provider) for each in served),
            *(Model(name_of(bot.id), bot.name, "chatbot", "organization", bot.created_at) for bot in chatbots),
            *(embeddings if caller.chatbot_id is None else ()),
        ]

    async def get_model(self, caller: Caller, name: str) -> Model:
        """Return one of them by any of its names. Raises ModelNotFound."""
        wanted = asked_by(name).id
        for model in await self.list_models(caller):
            if model.id == wanted:
                return model
        raise ModelNotFound(param="model")

    def resolve(self, caller: Caller, name: str) -> Asked:
        """Return what is asked, by a name; whether it is there, asking tells. Raises ModelNotFound."""
        asked = asked_by(name)
        if caller.chatbot_id is not None and asked.chatbot_id != caller.chatbot_id:
            raise ModelNotFound(param="model")
        return asked
