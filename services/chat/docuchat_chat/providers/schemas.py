"""Requests and responses about providers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator
from yarl import URL

from docuchat_chat.providers.checks import Check, CheckCode
from docuchat_chat.providers.domain import MOST_MODELS, Auth, NewProvider, Provider, ProviderEdit, ProviderModel
from docuchat_chat.providers.watching import Health, State
from docuchat_common.http.json_body import AS_NUMBER, Flag, StrictBody, Whole

_EXAMPLE: Final[dict[str, Any]] = {
    "name": "fireworks",
    "base_url": "https://api.fireworks.ai/inference/v1",
    "api_key": "fw_3Zz…",
    "models": [{"name": "accounts/fireworks/models/llama-v3p1-8b-instruct", "input": 0.2, "output": 0.2}],
}


def _address(text: str) -> str:
    try:
        url = URL(text)
    except ValueError as error:
        raise ValueError("is no address; one looks like https://api.example.com/v1") from error
    if url.scheme not in ("http", "https") or not url.host or url.user or url.password or url.query_string:
        raise ValueError("must be http(s)://host/path, without user, password and query")
    return text.rstrip("/")


def _sendable(key: SecretStr) -> SecretStr:
    if not all("!" <= letter <= "~" for letter in key.get_secret_value()):
        raise ValueError("has a character that no key has; copy it again, without spaces or quotes around it")
    return key


def _distinct(models: tuple[ProviderModelBody, ...]) -> tuple[ProviderModelBody, ...]:
    if len({model.name for model in models}) < len(models):
        raise ValueError("names a model twice")
    return models


Dollars = Annotated[
    Decimal, Field(ge=0, lt=100_000_000, max_digits=14, decimal_places=6, allow_inf_nan=False), AS_NUMBER
]
_Visible = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
Slug = Annotated[
    str,
    Field(
        min_length=1,
        max_length=40,
        pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        examples=["fireworks"],
        description="What its models' names begin with: `fireworks/…`. It stays as it is.",
    ),
]
Address = Annotated[
    str,
    Field(
        max_length=500,
        pattern=r"^https?://[\x21\x22\x24-\x7e]+$",
        examples=["https://api.fireworks.ai/inference/v1"],
        description="Where its OpenAI-compatible interface is; `/chat/completions` comes behind it.",
    ),
    AfterValidator(_address),
]
ApiKey = Annotated[
    SecretStr,
    Field(min_length=1, max_length=2000, description="Kept sealed; its end alone is ever shown."),
    AfterValidator(_sendable),
]
Query = Annotated[
    dict[_Visible, _Visible],
    Field(max_length=10, description="Sent with each request, as Azure's `api-version`.", examples=[{}]),
]


class ProviderModelBody(StrictBody):
    """A model; prices are USD per million tokens."""

    name: _Visible = Field(description="As the provider calls it.")
    input: Dollars | None = None
    output: Dollars | None = None
    embedding: Dollars | None = Field(default=None, description="The same as `input` when it is not given.")
    context_window: Annotated[Whole, Field(ge=256, le=100_000_000)] | None = Field(
        default=None, description="Tokens that it takes, question and answer together."
    )

    def to_domain(self) -> ProviderModel:
        """As the domain has it."""
        return ProviderModel(self.name, self.input, self.output, self.embedding, self.context_window)


Models = Annotated[tuple[ProviderModelBody, ...], Field(max_length=MOST_MODELS), AfterValidator(_distinct)]


class NewProviderBody(StrictBody):
    """A provider to make."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: Slug
    base_url: Address
    api_key: ApiKey | None = None
    auth: Auth = Field(default=Auth.BEARER, description="How it is shown the key: `api-key` is the header of Azure.")
    query: Query = Field(default_factory=dict)
    models: Models = Field(default=(), description="What may be asked for; what is not listed is refused.")
    enabled: Flag = True

    def to_new(self) -> NewProvider:
        """Return what is to be made."""
        return NewProvider(
            self.name,
            self.base_url,
            self.auth,
            self.query,
            tuple(model.to_domain() for model in self.models),
            self.enabled,
        )

    def key(self) -> str | None:
        """Return the key as it is."""
        return None if self.api_key is None else self.api_key.get_secret_value()


class ProviderChanges(StrictBody):
    """What is to be different; what is left out stays."""

    base_url: Address | None = None
    api_key: ApiKey | None = None
    auth: Auth | None = None
    query: Query | None = None
    models: Models | None = Field(default=None, description="All of them: what is not listed goes.")
    enabled: Flag | None = None
    revision: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None, description="The one that you read: the change is refused when somebody else came before."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set - {"revision"}:
            raise ValueError("says nothing to change")
        return self

    def to_edit(self) -> ProviderEdit:
        """Return what is to be different."""
        given: Mapping[str, Any] = {
            "base_url": self.base_url,
            "auth": self.auth,
            "query": self.query,
            "models": None if self.models is None else tuple(model.to_domain() for model in self.models),
            "is_enabled": self.enabled,
        }
        return ProviderEdit(
            {name: value for name, value in given.items() if value is not None},
            None if self.api_key is None else self.api_key.get_secret_value(),
            self.revision,
        )


class ProviderModelView(BaseModel):
    """A model; prices are USD per million tokens."""

    name: str = Field(examples=["llama-3.3-70b"])
    model: str = Field(description="What to ask for.", examples=["fireworks/llama-3.3-70b"])
    input: float | None
    output: float | None
    embedding: float | None
    context_window: int | None


class HealthView(BaseModel):
    """How a provider is, by what came of its last calls."""

    state: State
    last_error: str | None = Field(description="The code of what went wrong last.", examples=["provider_error"])
    since: datetime | None

    @classmethod
    def of(cls, health: Health) -> HealthView:
        """The view of how one is."""
        return cls(state=health.state, last_error=health.last_error, since=health.since)


class CheckView(BaseModel):
    """How a provider answered just now."""

    ok: bool
    outcome: CheckCode
    detail: str = Field(examples=["The provider refuses the key (status 401); send another `api_key`."])
    status: int | None = Field(description="What it answered with over HTTP; null: it did not answer.")
    unknown_models: list[str] = Field(description="Models of yours that it does not list.")

    @classmethod
    def of(cls, check: Check) -> CheckView:
        """The view of a check."""
        return cls(
            ok=check.is_ok,
            outcome=check.code,
            detail=check.detail,
            status=check.status,
            unknown_models=list(check.unknown_models),
        )


class ProviderView(BaseModel):
    """A provider of models. Of the platform's a tenant sees neither address nor key."""

    id: UUID
    name: str = Field(examples=["fireworks"])
    owner: Literal["tenant", "platform"]
    base_url: str | None
    api_key_hint: str | None = Field(
        description="How its key ends; empty: it is too short to show that; null: it has none.", examples=["x9Qf"]
    )
    auth: Auth
    query: dict[str, str]
    models: list[ProviderModelView]
    enabled: bool
    health: HealthView
    revision: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, provider: Provider, health: Health, *, whole: bool) -> ProviderView:
        """The view of a provider; `whole` with where it is and how its key ends."""
        return cls(
            id=provider.id,
            name=provider.name,
            owner="platform" if provider.tenant_id is None else "tenant",
            base_url=provider.base_url if whole else None,
            api_key_hint=provider.key_hint if whole else None,
            auth=provider.auth,
            query=dict(provider.query) if whole else {},
            models=[_view(provider, model) for model in provider.models],
            enabled=provider.is_enabled,
            health=HealthView.of(health),
            revision=provider.revision,
            created_at=provider.created_at,
            updated_at=provider.updated_at,
        )


def _view(provider: Provider, model: ProviderModel) -> ProviderModelView:
    return ProviderModelView(
        name=model.name,
        model=provider.full_name(model),
        input=_number(model.input),
        output=_number(model.output),
        embedding=_number(model.embedding),
        context_window=model.context_window,
    )


def _number(price: Decimal | None) -> float | None:
    return None if price is None else float(price)
