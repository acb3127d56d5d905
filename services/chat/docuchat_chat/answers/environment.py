"""The models that the environment names: all of one provider, for every tenant alike."""

from __future__ import annotations

from collections.abc import Sequence

from docuchat_chat.answers.errors import require_allowed
from docuchat_chat.answers.ports import AnswerModel, ServedModel
from docuchat_common.ids import TenantId


class EnvironmentModels:
    """One provider with a list of models, each known by its bare name and as `provider/name`."""

    def __init__(self, answers: AnswerModel, provider: str, allowed: Sequence[str]) -> None:
        self._answers = answers
        self._provider = provider
        self._allowed = tuple(allowed)

    async def find(self, tenant_id: TenantId, model: str) -> ServedModel:
        """Return what serves a model. Raises ModelNotAllowed."""
        sent = model if model in self._allowed else model.removeprefix(f"{self._provider}/")
        require_allowed(sent, self._allowed)
        return ServedModel(name=model, provider=self._provider, model=sent, answers=self._answers)

    async def list_models(self, tenant_id: TenantId) -> Sequence[ServedModel]:
        """Return them by their bare names."""
        return [ServedModel(name, self._provider, name, self._answers) for name in self._allowed]
