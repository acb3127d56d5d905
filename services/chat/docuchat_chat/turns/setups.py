"""The setup that answers a question, where a chatbot is asked: one version of it, read once."""

from __future__ import annotations

from dataclasses import replace

from docuchat_chat.answers.errors import ModelNotAllowed
from docuchat_chat.answers.setup import Setup
from docuchat_chat.chatbots.domain import Version
from docuchat_chat.turns.domain import Question
from docuchat_chat.turns.drafts import Draft
from docuchat_chat.turns.policy import Policy
from docuchat_chat.turns.ports import Chatbots
from docuchat_common.contracts.chatbots import ChatbotNotFound
from docuchat_common.ids import ChatbotId


def as_wished(setup: Setup, question: Question) -> Setup:
    """Return a setup as whoever asks wishes it to be, in what is theirs to wish for."""
    return replace(
        setup,
        wishes=question.wishes,
        temperature=setup.temperature if question.temperature is None else question.temperature,
        max_output_tokens=question.max_output_tokens,
    )


class Setups:
    """Reads what answers for a chatbot."""

    def __init__(self, chatbots: Chatbots, policy: Policy) -> None:
        self._chatbots = chatbots
        self._policy = policy

    async def read(self, draft: Draft, chatbot_id: ChatbotId) -> None:
        """Set a draft up as a version of a chatbot says; from then on its caller reads what that version answers from.

        Raises ChatbotNotFound, ChatbotNotPublished, ChatbotVersionNotFound or ModelNotAllowed.
        """
        caller, question = draft.caller, draft.question
        if caller.chatbot_id not in {None, chatbot_id}:
            raise ChatbotNotFound  # a key or a visitor of another one
        if question.version is None:
            draft.chatbot, version = await self._chatbots.live(caller, chatbot_id)
        else:
            caller.require("chatbots.manage")
            draft.chatbot, version = await self._chatbots.version(caller, chatbot_id, question.version)
        draft.setup = as_wished(self._setup_of(draft.chatbot.name, version), question)
        if question.model and question.model != draft.setup.model:
            raise ModelNotAllowed(
                f"This chatbot answers with {draft.setup.model}; leave the model out.",
                allowed_models=[draft.setup.model],
            )
        draft.caller = replace(caller, collections=draft.setup.collections)

    def _setup_of(self, name: str, version: Version) -> Setup:
        config = version.config
        return Setup(
            model=config.model or self._policy.default_model,
            fallback_model=config.fallback_model,
            top_k=config.top_k or self._policy.top_k,
            temperature=config.temperature,
            instructions=config.system_prompt,
            policy=config.answer_policy,
            language=config.language,
            nothing_found=config.nothing_found,
            collections=version.collections,
            name=name,
            greeting=config.greeting or "",
            chatbot_id=version.chatbot_id,
            chatbot_version=version.number,
        )
