"""Commands of operators."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

import typer

from docuchat_client.cli.auditing import audit_installation, verify_audit
from docuchat_client.cli.dead_letters import dead_letters_app
from docuchat_client.cli.deletions import delete_tenant, deletion_receipt, restore_tenant
from docuchat_client.cli.model_providers import model_providers_app
from docuchat_client.cli.operating import Given, operate
from docuchat_client.cli.session import NO_ANSWER, AsJson, Yes, confirm, screen, table
from docuchat_client.operators import OperatorClient
from docuchat_client.rendering import moment
from docuchat_client.rendering import size as human_size

_LARGEST = 1 << 60
_TENANT_COLUMNS = ("id", "slug", "name", "signup", "customer_id", "created_at", "state")
_USER_COLUMNS = ("email", "role", "id", "last_login_at")

admin_app = typer.Typer(
    help="Run the installation: tenants, quotas, prices, providers of models, keys, dead letters. Needs an operator's "
    "credential: --key, DOCUCHAT_OPERATOR_KEY, or a local run's, found in .local/operator.json here or in a folder "
    "above.",
    no_args_is_help=True,
)
pauses_app = typer.Typer(help="Work that waits for a model provider.", no_args_is_help=True)
admin_app.add_typer(dead_letters_app, name="dead-letters")
admin_app.command("audit")(audit_installation)
admin_app.command("verify-audit")(verify_audit)
admin_app.add_typer(pauses_app, name="pauses")
admin_app.add_typer(model_providers_app, name="model-providers")
admin_app.command("delete-tenant")(delete_tenant)
admin_app.command("restore-tenant")(restore_tenant)
admin_app.command("deletion-receipt")(deletion_receipt)

Tenant = Annotated[str, typer.Argument(help="The tenant's id, customer id or slug.")]
User = Annotated[str | None, typer.Option(metavar="EMAIL|ID", help="One user of the tenant.")]
Person = Annotated[str, typer.Argument(metavar="EMAIL|ID", help="A user of the tenant.")]
SignUp = Literal["invite", "domains", "open"]
Domains = Annotated[
    list[str] | None, typer.Option(metavar="acme.example", help="Of mail, the tenant's own; with domains. Repeatable.")
]
Amount = Annotated[str | None, typer.Option(metavar="N|none", help="none is no limit.")]


@admin_app.callback()
def connect(
    context: typer.Context,
    server: Annotated[str | None, typer.Option(help="The service's address.")] = None,
    key: Annotated[str | None, typer.Option(help="The operator's credential; better in DOCUCHAT_OPERATOR_KEY.")] = None,
) -> None:
    """Note where to go and with what; the credential is looked for when a command runs."""
    context.obj = Given(server, key)


@admin_app.command("create-tenant")
def create_tenant(
    context: typer.Context,
    slug: Annotated[str, typer.Option(help="Lower-case letters, digits and hyphens.")],
    owner: Annotated[str, typer.Option(metavar="EMAIL", help="Who owns it, and may sign in first.")],
    name: Annotated[str | None, typer.Option(help="For people; the slug without.")] = None,
    signup: Annotated[SignUp, typer.Option(help="Who joins uninvited: nobody, people of --domain, or anybody.")] = (
        "invite"
    ),
    domain: Domains = None,
    open_signup: Annotated[bool, typer.Option("--open-signup", help="The same as --signup open.")] = False,
) -> None:
    """Create a tenant with its first owner; the same again changes nothing."""
    mode = "open" if open_signup else signup
    made = operate(context, lambda it: it.create_tenant(slug, name or slug, owner, signup=mode, domains=domain or ()))
    screen.line(f"Tenant {made['id']} ({made['slug']}); {owner} signs in with: docuchat login --tenant {made['slug']}")


@admin_app.command("list-tenants")
def list_tenants(context: typer.Context, as_json: AsJson = False) -> None:
    """List every tenant."""

    async def collect(operator: OperatorClient) -> list[dict[str, Any]]:
        return [tenant async for tenant in operator.tenants()]

    tenants = operate(context, collect)
    table(tenants if as_json else [{**it, "state": _state_of(it)} for it in tenants], as_json, _TENANT_COLUMNS)


def _state_of(tenant: dict[str, Any]) -> str:
    if ends := tenant.get("deletes_at"):
        return f"erased {moment(datetime.fromisoformat(ends))}"
    return "suspended" if tenant.get("suspended_at") else "active"


@admin_app.command("list-users")
def list_users(context: typer.Context, tenant: Tenant, as_json: AsJson = False) -> None:
    """List a tenant's users."""

    async def collect(operator: OperatorClient) -> list[dict[str, Any]]:
        return [user async for user in operator.users(tenant)]

    table(operate(context, collect), as_json, _USER_COLUMNS)


@admin_app.command("set-signup")
def set_signup(
    context: typer.Context,
    tenant: Tenant,
    state: Annotated[Literal["invite", "domains", "open", "closed"], typer.Argument(help="closed is invite.")],
    domain: Domains = None,
) -> None:
    """Say who joins a tenant uninvited: nobody, people of --domain, or anybody."""
    mode = "invite" if state == "closed" else state
    changed = operate(context, lambda it: it.set_signup(tenant, mode, domain or ()))
    screen.line(f"Sign-up of tenant {changed['id']} ({changed['slug']}) is {state}.")


@admin_app.command("release-domain")
def release_domain(
    context: typer.Context,
    tenant: Tenant,
    domain: Annotated[str, typer.Argument(metavar="acme.example", help="One that the tenant has added.")],
    yes: Yes = False,
) -> None:
    """Take a domain from a tenant that does not give it up; another one can prove it then."""
    if not yes:
        confirm(f"Take {domain} from {tenant}? Its people join no more by it, and are linked no more.")
    operate(context, lambda it: it.release_domain(tenant, domain))
    screen.line(f"{domain} is no domain of {tenant} any more.")


@admin_app.command("suspend-tenant")
def suspend_tenant(context: typer.Context, tenant: Tenant, yes: Yes = False) -> None:
    """Allow nothing but reading in a tenant: changes, questions and open answers end within seconds."""
    if not yes:
        confirm(f"Let the people of {tenant} read, and nothing else?")
    changed = operate(context, lambda it: it.set_suspended(tenant, is_suspended=True))
    screen.line(f"Tenant {changed['id']} ({changed['slug']}) is suspended: what is there can be read.")
    if ends := changed.get("deletes_at"):
        screen.note(f"It is erased at {moment(datetime.fromisoformat(ends))}, unless restore-tenant takes that back.")


@admin_app.command("resume-tenant")
def resume_tenant(context: typer.Context, tenant: Tenant) -> None:
    """End the suspension of a tenant."""

    async def resume(operator: OperatorClient) -> tuple[dict[str, Any], bool]:
        was = await operator.find_tenant(tenant)
        return await operator.set_suspended(tenant, is_suspended=False), was.get("suspended_at") is not None

    changed, was_suspended = operate(context, resume)
    how = "is not suspended any more" if was_suspended else "was not suspended"
    screen.line(f"Tenant {changed['id']} ({changed['slug']}) {how}.")


@admin_app.command("set-role")
def set_role(
    context: typer.Context,
    tenant: Tenant,
    user: Person,
    role: Annotated[Literal["owner", "admin", "member", "viewer"], typer.Argument()],
) -> None:
    """Give a user another role; a tenant keeps one owner at least."""
    changed = operate(context, lambda it: it.set_role(tenant, user, role))
    screen.line(f"{changed['email']} is {changed['role']} of {tenant}.")


@admin_app.command("reset-sign-in")
def reset_sign_in(
    context: typer.Context,
    tenant: Tenant,
    user: Person,
    second_factors: Annotated[
        bool, typer.Option("--second-factors", help="Take authenticator app, recovery codes and passkeys away as well.")
    ] = False,
    yes: Yes = False,
) -> None:
    """End all sessions of a user, and forget failed guesses and known devices."""
    if not yes:
        also = " and take the second factors away" if second_factors else ""
        confirm(f"End all sessions of {user}{also}?")
    found = operate(context, lambda it: it.reset_sign_in(tenant, user, second_factors=second_factors))
    how = "without a second factor" if second_factors else "with the second factors there were"
    screen.line(f"{found['email']} can sign in anew, {how}.")


@admin_app.command("set-quota")
def set_quota(
    context: typer.Context,
    tenant: Tenant,
    tokens: Amount = None,
    cost: Annotated[str | None, typer.Option(metavar="USD|none", help="A month.")] = None,
    messages: Amount = None,
    requests: Amount = None,
    documents: Amount = None,
    pages: Amount = None,
    size: Annotated[str | None, typer.Option("--bytes", metavar="N|none")] = None,
    user: User = None,
    as_json: AsJson = False,
) -> None:
    """Set what a tenant, or one of its users, may use; what is not given stays as it is."""
    given = {"tokens": tokens, "cost": cost, "messages": messages, "requests": requests, "documents": documents}
    given |= {"pages": pages, "bytes": size}
    limits: dict[str, Any] = {unit: _amount(unit, text) for unit, text in given.items() if text is not None}

    async def change(operator: OperatorClient) -> dict[str, Any]:
        if user is None or not limits:
            return await operator.set_quota(tenant, limits)
        whose = await operator.find_user(tenant, user)
        return await operator.set_quota(tenant, {**limits, "user_id": whose["id"]}) | {"user": whose["email"]}

    _quota(operate(context, change), as_json)


@admin_app.command("show-quota")
def show_quota(context: typer.Context, tenant: Tenant, user: User = None, as_json: AsJson = False) -> None:
    """Show what a tenant, or one of its users, may use, and what is used of it."""

    async def look(operator: OperatorClient) -> dict[str, Any]:
        if user is None:
            return await operator.quota(tenant)
        whose = await operator.find_user(tenant, user)
        return await operator.quota(tenant, user_id=whose["id"]) | {"user": whose["email"]}

    _quota(operate(context, look), as_json)


@admin_app.command("set-price")
def set_price(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A model, or the beginning of its name and *.")],
    input_price: Annotated[str, typer.Option("--input", metavar="USD", help="A million tokens of input.")],
    output_price: Annotated[str, typer.Option("--output", metavar="USD", help="A million tokens of output.")],
    embedding: Annotated[str | None, typer.Option(metavar="USD", help="The same as --input without.")] = None,
    provider: Annotated[str, typer.Option(help="* is any provider.")] = "*",
) -> None:
    """Set a model's price from now on; what was booked keeps its own."""
    price: dict[str, Any] = {
        "provider": provider,
        "model": model,
        "input": _number("--input", input_price),
        "output": _number("--output", output_price),
    }
    if embedding is not None:
        price["embedding"] = _number("--embedding", embedding)
    made = operate(context, lambda it: it.set_price(price))
    whose = "any provider" if made["provider"] == "*" else made["provider"]
    amounts = ", ".join(f"{kind} {made[kind]:g}" for kind in ("input", "output", "embedding"))
    screen.line(f"{made['model']} ({whose}): {amounts} USD per million tokens, from now on")


@admin_app.command("list-prices")
def list_prices(
    context: typer.Context,
    every_version: Annotated[
        bool, typer.Option("--all", help="Also versions that were replaced, and those from a later day.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the prices in force."""
    prices = operate(context, lambda it: it.prices(every_version=every_version))
    table(prices, as_json, ("model", "provider", "input", "output", "embedding", "valid_from"))


@admin_app.command("rotate-keys")
def rotate_keys(
    context: typer.Context,
    revoke: Annotated[
        bool, typer.Option("--revoke", help="End every access token at once; for the day a key has leaked.")
    ] = False,
) -> None:
    """Rotate the key that signs tokens; nobody has to sign in again."""
    key = operate(context, lambda it: it.rotate_keys(revoke=revoke))
    screen.line(f"Key {key['kid']} signs from {moment(datetime.fromisoformat(key['signs_from']))}.")


@admin_app.command("reembed")
def reembed(
    context: typer.Context, tenant: Annotated[str | None, typer.Option(help="Only this tenant's; id or slug.")] = None
) -> None:
    """Queue the documents whose vectors are of another model than today's."""
    _lines(operate(context, lambda it: it.reembed(tenant)))


@admin_app.command("recount")
def recount(context: typer.Context) -> None:
    """Count what the tenants store by the documents themselves; it is done every hour too."""
    counts = operate(context, lambda it: it.recount())
    said = {
        "tenants": "sums of {} tenants corrected",
        "corrected": "{} documents corrected",
        "left": "{} left as they are",
    }
    done = "; ".join(words.format(counts[name]) for name, words in said.items() if counts.get(name))
    screen.line(f"{done[0].upper()}{done[1:]}." if done else "Everything was counted as it is stored.")


@pauses_app.command("list")
def list_pauses(context: typer.Context, as_json: AsJson = False) -> None:
    """List what waits for a model provider, and until when."""
    table(operate(context, lambda it: it.pauses()), as_json)


@pauses_app.command("end")
def end_pauses(context: typer.Context) -> None:
    """Let what waits for a model provider go on now."""
    waiting = operate(context, lambda it: it.end_pauses_counted())
    screen.line(f"Ended {waiting}." if waiting else "Nothing was waiting.")


@admin_app.command("status")
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show how each service is, and what waits for somebody; fails when one is not ready or does not answer."""
    answer = operate(context, lambda it: it.status())
    if as_json:
        screen.json(json.dumps(answer, indent=2))
    else:
        screen.rows(("service", "state", "parts"), map(_state, answer["parts"]))
        screen.rows(("waiting", "count"), _waiting(answer))
    if missing := [part["name"] for part in answer["parts"] if not part["ready"]]:
        screen.fail(f"{len(missing)} of {len(answer['parts'])} services not ready: {', '.join(missing)}")
    elif answer["unanswered"]:
        screen.fail(f"{', '.join(answer['unanswered'])} did not answer")
    else:
        return
    raise typer.Exit(NO_ANSWER)


def _state(part: dict[str, Any]) -> tuple[str, str, str]:
    """A service's line: what it uses, or of that only what fails."""
    checks: dict[str, str] = part["checks"]
    failing = [f"{name} {state}" for name, state in checks.items() if state != "ok"]
    if part["ready"]:
        return part["name"], "degraded" if failing else "ready", ", ".join(failing or checks)
    return part["name"], "not ready", ", ".join(failing) or "does not answer; its log may say why"


def _waiting(answer: dict[str, Any]) -> list[tuple[str, Any]]:
    """What waits, counted, or why nobody knows."""
    silent = ", ".join(answer["unanswered"])
    whose = {"dead_letters": f"unknown: {silent} did not answer"}
    return [
        (name.replace("_", " "), whose.get(name, "unknown") if answer[name] is None else answer[name])
        for name in ("dead_letters", "outdated_documents", "pauses")
    ]


def _amount(unit: str, text: str) -> int | str | None:
    if text == "none":
        return None
    if unit == "cost":
        return _number("--cost", text)
    if not text.isdecimal():
        raise typer.BadParameter("is a whole number, or none", param_hint=f"--{unit}")
    if int(text) > _LARGEST:
        raise typer.BadParameter(f"is {_LARGEST:,} at most, or none", param_hint=f"--{unit}")
    return int(text)


def _number(option: str, text: str) -> str:
    try:
        if Decimal(text) >= 0:
            return text
    except InvalidOperation:
        pass
    raise typer.BadParameter("is an amount of USD, like 0.15", param_hint=option)


def _quota(quota: dict[str, Any], as_json: bool) -> None:
    """What is limited, used and left; of a user it says of whom."""
    rows = []
    for limit in quota["limits"]:
        whose = f"user {quota['user']}" if limit["subject_type"] == "user" else limit["subject_type"]
        amounts = {name: limit.get(name) for name in ("limit", "used", "remaining")}
        if limit["unit"] == "bytes":
            amounts = {name: None if amount is None else human_size(int(amount)) for name, amount in amounts.items()}
        rows.append({"whose": whose, "unit": limit["unit"], **amounts, "resets_at": limit.get("resets_at")})
    table(quota["limits"] if as_json else rows, as_json)
    if "user" in quota and not as_json and not any(limit["subject_type"] == "user" for limit in quota["limits"]):
        screen.note(f"{quota['user']} has no limit of their own, and is held by the tenant's.")


def _lines(answer: dict[str, Any], prefix: str = "") -> None:
    """`name: value`, a line each; names of nested members are joined by dots."""
    for name, value in answer.items():
        if isinstance(value, dict):
            _lines(value, f"{prefix}{name}.")
        else:
            screen.line(f"{prefix}{name}: {value}")
    if not answer and not prefix:
        screen.line("Done.")
