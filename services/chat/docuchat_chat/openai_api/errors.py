"""Errors of requests in OpenAI's shape. `param` names what of the request is meant, as their clients show it."""

from __future__ import annotations

from docuchat_common.errors import Forbidden, InvalidInput, NotFound


class UnsupportedParameter(InvalidInput):
    """A parameter of the request is not supported here; leave it out."""

    code = "unsupported_parameter"

    @classmethod
    def named(cls, param: str, instead: str = "leave it out") -> UnsupportedParameter:
        """Return the refusal of one parameter."""
        return cls(f"`{param}` is not supported here; {instead}.", param=param)


class InvalidParameter(InvalidInput):
    """A parameter of the request has a value that it cannot have."""

    code = "invalid_parameter"

    @classmethod
    def named(cls, param: str, problem: str) -> InvalidParameter:
        """Return the refusal of one value."""
        return cls(f"`{param}` {problem}.", param=param)


class ModelNotFound(NotFound):
    """There is no such model, or you may not ask it; GET /v1/models lists those that you may."""

    code = "model_not_found"


class EmbeddingsNotInPlan(Forbidden):
    """Embeddings are not part of your plan (its `requests` are 0); ask whoever runs this installation."""

    code = "not_in_plan"
