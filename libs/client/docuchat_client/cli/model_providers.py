"""Commands: the models that one may ask, and the providers whose models those are, a tenant's and the platform's."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, TypeVar

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.cli.operating import Given, operate
from docuchat_client.cli.session import AsJson, Yes, confirm, print_json, run, screen, table, with_client
from docuchat_client.operators import OperatorClient
from docuchat_client.provider_models import AvailableModel, ModelProvider, ProviderCheck, ProviderModel
from docuchat_client.rendering import moment

T = TypeVar("T")
Client = AsyncDocuChat | OperatorClient
_KEY = "DOCUCHAT_PROVIDER_KEY"

model_providers_app = typer.Typer(
    help="Providers of models, paid for by who adds them: your company's own, for admins; with `docuchat admin` "
    "those of the platform, for operators.",
    no_args_is_help=True,
)

Named = Annotated[str, typer.Argument(metavar="NAME|ID")]
Key = Annotated[
    bool,
    typer.Option("--ask-key", help=f"Ask for its key, or read it from standard input; {_KEY} is taken unasked."),
]
Models = Annotated[
    list[str] | None, typer.Option("--model", help="One that may be asked for, as the provider calls it; repeatable.")
]
Prices = Annotated[
    list[str] | None,
    typer.Option("--price", metavar="MODEL=INPUT,OUTPUT", help="USD per million tokens; repeatable."),
]
Windows = Annotated[
    list[str] | None,
    typer.Option("--context-window", metavar="MODEL=TOKENS", help="What it takes at most; repeatable."),
]
Auth = Annotated[
    Literal["bearer", "api-key"] | None, typer.Option(help="How it is shown the key; api-key is Azure's way.")
]
Query = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="Sent with each request, as api-version; repeatable.")
]


def models(as_json: AsJson = False) -> None:
    """List the models and chatbots that you may ask, and the model that embeds."""

    async def show(client: AsyncDocuChat) -> list[AvailableModel]:
        return await client.models()

    found = [one.model_dump(mode="json") for one in run(with_client(show))]
    table(found, as_json, ("id", "kind", "name", "owned_by"))


@model_providers_app.command("list")
def list_model_providers(context: typer.Context, as_json: AsJson = False) -> None:
    """List providers, and how each is."""

    async def collect(client: Client) -> list[ModelProvider]:
        return [provider async for provider in client.model_providers()]

    found = _reach(context, collect)
    rows = [
        {
            "name": one.name,
            "owner": one.owner,
            "state": one.health.state if one.enabled else "disabled",
            "models": len(one.models),
            "id": str(one.id),
        }
        for one in found
    ]
    table([one.model_dump(mode="json") for one in found] if as_json else rows, as_json)


@model_providers_app.command("show")
def show_model_provider(context: typer.Context, provider: Named, as_json: AsJson = False) -> None:
    """Show a provider, its models and how it is."""
    _tell(_reach(context, lambda client: client.find_model_provider(provider)), as_json)


@model_providers_app.command("add")
def add_model_provider(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What its models' names begin with; it stays.")],
    base_url: Annotated[str, typer.Argument(metavar="ADDRESS", help="What comes before /chat/completions.")],
    ask_key: Key = False,
    model: Models = None,
    price: Prices = None,
    context_window: Windows = None,
    auth: Auth = None,
    query: Query = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Let nobody ask it yet.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add a provider; its models are asked for as NAME/MODEL."""
    listed = _models({}, model, price, context_window) or []
    secret, pairs = _secret() if ask_key or _KEY in os.environ else None, _pairs(query)

    async def add(client: Client) -> ModelProvider:
        return await client.add_model_provider(
            name, base_url, api_key=secret, models=listed, auth=auth, query=pairs, enabled=not disabled
        )

    made = _reach(context, add)
    _tell(made, as_json)
    if not made.models:
        screen.note("Nobody can ask it yet: name its models with `model-providers change --model`.")


@model_providers_app.command("change")
def change_model_provider(
    context: typer.Context,
    provider: Named,
    base_url: Annotated[str | None, typer.Option(help="To another host the key goes again.")] = None,
    ask_key: Key = False,
    model: Models = None,
    price: Prices = None,
    context_window: Windows = None,
    auth: Auth = None,
    query: Query = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether it can be asked.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given, for the next question. With --model those are all there are from then on."""
    secret, pairs = _secret() if ask_key else None, _pairs(query)

    async def change(client: Client) -> ModelProvider:
        found = await client.find_model_provider(provider)
        listed = _models({one.name: _plain(one) for one in found.models}, model, price, context_window)
        if all(one is None for one in (base_url, secret, listed, auth, pairs, enabled)):
            raise typer.BadParameter("say what is to change, such as --model or --disable; --help names all")
        return await client.change_model_provider(
            found.id,
            base_url=base_url,
            api_key=secret,
            models=listed,
            auth=auth,
            query=pairs,
            enabled=enabled,
            revision=found.revision,
        )

    _tell(_reach(context, change), as_json)


@model_providers_app.command("remove")
def remove_model_provider(context: typer.Context, provider: Named, yes: Yes = False) -> None:
    """Remove a provider and its key; who asks for its models then is refused."""
    if not yes:
        confirm(
            f"Remove {provider} and its key? Answers that are being written are finished; "
            "chatbots whose model is one of its models answer no more."
        )

    async def remove(client: Client) -> ModelProvider:
        found = await client.find_model_provider(provider)
        await client.remove_model_provider(found.id)
        return found

    screen.line(f"{_reach(context, remove).name} is removed.")


@model_providers_app.command("check")
def check_model_provider(context: typer.Context, provider: Named, as_json: AsJson = False) -> None:
    """Ask a provider for its models, which costs nothing, and say what is wrong; fails when something is."""

    async def check(client: Client) -> ProviderCheck:
        return await client.check_model_provider((await client.find_model_provider(provider)).id)

    said = _reach(context, check)
    if as_json:
        print_json(said)
    elif said.ok:
        screen.line(f"{provider}: {said.detail}")
    else:
        detail = said.detail.rstrip(".").replace("send another `api_key`", "`change` it with --ask-key")
        screen.fail(f"{provider}: {detail} [{said.outcome}]")
    if not said.ok:
        raise typer.Exit(1)


def _reach(context: typer.Context, action: Callable[[Client], Awaitable[T]]) -> T:
    """As an operator below `docuchat admin`, else as who is signed in."""
    if isinstance(context.obj, Given):
        return operate(context, action)

    async def act(client: AsyncDocuChat) -> T:
        return await action(client)

    return run(with_client(act))


def _secret() -> str:
    """The provider's key, which is no argument: others on the machine could read it."""
    given = os.environ.get(_KEY)
    if given is None and sys.stdin.isatty():
        given = str(typer.prompt("Key of the provider", hide_input=True))
    elif given is None:
        given = sys.stdin.readline()
    if not given.strip():
        raise typer.BadParameter(f"no key came; type it, pass it on standard input, or set {_KEY}")
    return given.strip()


def _models(
    present: dict[str, dict[str, Any]], names: list[str] | None, prices: list[str] | None, windows: list[str] | None
) -> list[dict[str, Any]] | None:
    """All models as they are to be: those named, else those there are, with what is said of each. None: no change."""
    if not names and not prices and not windows:
        return None
    wanted = {name: dict(present.get(name, {"name": name})) for name in names or present}
    for text in prices or ():
        model, price = _pair(text, "--price")
        amounts = price.split(",")
        if len(amounts) not in (2, 3) or not all(map(_is_amount, amounts)):
            raise typer.BadParameter(f"{text!r} is no MODEL=INPUT,OUTPUT in USD", param_hint="--price")
        _of(wanted, model, "--price").update(zip(("input", "output", "embedding"), amounts, strict=False))
    for text in windows or ():
        model, tokens = _pair(text, "--context-window")
        if not tokens.isdecimal():
            raise typer.BadParameter(f"{text!r} is no MODEL=TOKENS", param_hint="--context-window")
        _of(wanted, model, "--context-window")["context_window"] = int(tokens)
    return list(wanted.values())


def _of(wanted: dict[str, dict[str, Any]], model: str, option: str) -> dict[str, Any]:
    if model not in wanted:
        raise typer.BadParameter(f"{model!r} is none of the models; name it with --model", param_hint=option)
    return wanted[model]


def _plain(model: ProviderModel) -> dict[str, Any]:
    """A model as it is sent back, without what it is asked for as."""
    kept: dict[str, Any] = model.model_dump(mode="json", exclude={"asked_as"}, exclude_none=True)
    return kept


def _pairs(texts: list[str] | None) -> dict[str, str] | None:
    return dict(_pair(text, "--query") for text in texts) if texts else None


def _pair(text: str, option: str) -> tuple[str, str]:
    name, sign, value = text.rpartition("=")
    if not sign or not name or not value:
        raise typer.BadParameter(f"{text!r} is no NAME=VALUE", param_hint=option)
    return name, value


def _is_amount(text: str) -> bool:
    try:
        return Decimal(text) >= 0
    except InvalidOperation:
        return False


def _tell(provider: ModelProvider, as_json: bool) -> None:
    if as_json:
        print_json(provider)
        return
    state = provider.health.state if provider.enabled else "disabled"
    screen.line(f"{provider.name} ({provider.id}), {provider.owner}'s, {state}", style="bold")
    if provider.base_url is not None:
        hint = provider.api_key_hint
        key = "no key" if hint is None else f"key …{hint.lstrip('…')}" if hint else "a key too short to show its end"
        screen.line(f"at {provider.base_url}, {key}")
    if provider.health.last_error:
        screen.line(f"last error: {provider.health.last_error}, since {moment(provider.health.since)}")
    for model in provider.models:
        amounts = (("input", model.input), ("output", model.output), ("embedding", model.embedding))
        said = ", ".join(f"{kind} {amount:f}" for kind, amount in amounts if amount is not None)
        room = f", {model.context_window:,} tokens at most" if model.context_window else ""
        screen.line(f"{model.asked_as}: {said + ' USD per million tokens' if said else 'no price of its own'}{room}")
