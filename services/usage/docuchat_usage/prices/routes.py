"""HTTP of the prices, for operators."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from docuchat_common.audit import audited
from docuchat_common.contracts.prices import PATH, ProviderPrices
from docuchat_common.http.idempotency import CurrentCreation, created
from docuchat_common.http.identity import CurrentOperator, InternalCaller, current_operator
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS
from docuchat_usage.prices.errors import PriceExists, PriceInvalid
from docuchat_usage.prices.schemas import PriceBody, PricePage, PriceView
from docuchat_usage.prices.service import PriceService

Service = Annotated[PriceService, provided("prices")]

internal = APIRouter(route_class=JsonRoute, dependencies=[InternalCaller], include_in_schema=False)

operator = APIRouter(
    prefix="/v1/operator/prices", tags=["operators"], route_class=JsonRoute, dependencies=[Depends(current_operator)]
)


@operator.get("", summary="List the prices")
async def list_prices(
    service: Service,
    every_version: Annotated[
        bool, Query(alias="all", description="Also versions that were replaced, and those from a later day.")
    ] = False,
) -> PricePage:
    """The prices in force; with `all` every version, the latest of a model first."""
    in_force_at = None if every_version else datetime.now(UTC)
    return PricePage(items=[PriceView.of(price) for price in await service.list_prices(in_force_at=in_force_at)])


@operator.post("", status_code=201, summary="Set a price", response_model=PriceView)
@raises(PriceExists, PriceInvalid, *IDEMPOTENCY_ERRORS)
@audited("price.set")
async def set_price(body: PriceBody, service: Service, caller: CurrentOperator, creating: CurrentCreation) -> Response:
    """Add a version of a model's price; what was booked before keeps its own."""
    return await creating.once(
        caller,
        body,
        lambda settle: service.set_price(body.to_domain(datetime.now(UTC)), settle, by=caller),
        lambda price: created(PriceView.of(price)),
    )


@internal.put(PATH, status_code=204)
async def set_provider(body: ProviderPrices, service: Service) -> Response:
    """Take what chat tells of a provider's models, before they can be asked."""
    await service.set_provider(body, datetime.now(UTC))
    return Response(status_code=204)
