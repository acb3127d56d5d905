"""The models that the environment names: all of one provider, for every tenant alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from docuchat_chat.answers.errors import require_allowed
from docuchat_chat.answers.ports import AnswerModel, ServedModel
from docuchat_common.ids import TenantId


class EnvironmentModels:
    """One provider with a list of models, each known by its bare name and as `provider/name`."""

    def __init__(
        self,
        answers: AnswerModel,
        provider: str,
        allowed: Sequence[str],
        is_down: Callable[[], bool] = lambda: False,
    ) -> None:
        """`is_down`: whether the provider is known to answer nobody."""
        self._answers = answers
        self._provider = provider
        self._allowed = tuple(allowed)
        self._is_down = is_down

    async def find(self, tenant_id: TenantId, model: str) -> ServedModel:
        """Return what serves a model. Raises ModelNotAllowed."""
        sent = model if model in self._allowed else model.removeprefix(f"{self._provider}/")
        require_allowed(sent, self._allowed)
        return self._served(model, sent)

    async def list_models(self, tenant_id: TenantId) -> Sequence[ServedModel]:
        """Return them by their bare names."""
        return [self._served(name, name) for name in self._allowed]

    def _served(self, name: str, sent: str) -> ServedModel:
        return ServedModel(name, self._provider, sent, self._answers, is_down=self._is_down())
