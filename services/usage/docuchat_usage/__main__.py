"""`python -m docuchat_usage` serves; `set-quota` and `set-price` are an operator's commands."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from uuid import UUID

from docuchat_common.errors import DocuChatError
from docuchat_common.http.server import serve
from docuchat_common.service_defaults import configure_observability
from docuchat_common.settings import load_settings
from docuchat_usage.app import create_app
from docuchat_usage.bootstrap import open_commands
from docuchat_usage.prices.domain import Price
from docuchat_usage.quotas.domain import Unit
from docuchat_usage.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run it; the exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.command == "set-quota" and given.tokens is None and given.cost is None:
        parser.error("set-quota needs --tokens, --cost or both")
    settings = load_settings(Settings)
    configure_observability(settings, "usage", command=given.command is not None)
    if given.command is None:
        serve(create_app(settings), settings)
        return 0
    try:
        sys.stdout.write(asyncio.run(_run(given, settings)) + "\n")
    except DocuChatError as error:
        sys.stderr.write(f"{error.code}: {error.detail}\n")
        return 1
    return 0


async def _run(given: argparse.Namespace, settings: Settings) -> str:
    async with open_commands(settings) as commands:
        if given.command == "set-quota":
            wanted = {Unit.TOKENS: given.tokens, Unit.COST: given.cost}
            await commands.quotas.set_quota(
                given.tenant, given.user, {unit: limit for unit, limit in wanted.items() if limit is not None}
            )
            subject = f"tenant {given.tenant}" if given.user is None else f"user {given.user} of tenant {given.tenant}"
            limits = [
                *([f"{given.tokens} tokens"] if given.tokens is not None else []),
                *([f"{given.cost} USD"] if given.cost is not None else []),
            ]
            return f"{subject}: {' and '.join(limits)} a month"
        price = Price(
            id=0,
            provider=given.provider,
            model=given.model,
            input=given.input,
            output=given.output,
            embedding=given.input if given.embedding is None else given.embedding,
            valid_from=given.valid_from or datetime.now(UTC),
        )
        price = await commands.prices.set_price(price)
        return f"price {price.id}: {price.provider}/{price.model} from {price.valid_from.isoformat()}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m docuchat_usage", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    quota = commands.add_parser("set-quota", help="what a tenant or one of its users may spend in a month")
    quota.add_argument("--tenant", type=_positive, required=True, help="the tenant's integer id")
    quota.add_argument("--user", type=UUID, help="a user's id; without it the whole tenant")
    quota.add_argument("--tokens", type=_count, help="tokens a month")
    quota.add_argument("--cost", type=_amount, help="USD a month")
    price = commands.add_parser("set-price", help="add a version of a model's price, in USD per million tokens")
    price.add_argument("--model", required=True, help="a model, or the beginning of its name and *")
    price.add_argument("--provider", default="*", help="a provider; without it any")
    price.add_argument("--input", type=_price, required=True)
    price.add_argument("--output", type=_price, required=True)
    price.add_argument("--embedding", type=_price, help="without it the same as --input")
    price.add_argument("--from", dest="valid_from", type=_moment, help="ISO 8601, UTC unless it says; without it now")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _amount(text: str) -> Decimal:
    return _decimal(text, places=12)


def _price(text: str) -> Decimal:
    return _decimal(text, places=6)


def _decimal(text: str, *, places: int) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise argparse.ArgumentTypeError("is not a decimal number") from error
    if not value.is_finite() or value < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    if value != round(value, places):
        raise argparse.ArgumentTypeError(f"has more than {places} decimal places")
    return value


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


if __name__ == "__main__":
    sys.exit(main())
