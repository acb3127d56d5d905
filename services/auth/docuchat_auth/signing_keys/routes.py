"""HTTP: the keys that verify tokens."""

from typing import Annotated

from fastapi import APIRouter, Response

from docuchat_auth.signing_keys.schemas import JsonWebKeySet
from docuchat_auth.signing_keys.service import KeyRing
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.http.permissions import public
from docuchat_common.http.problems import problem_responses
from docuchat_common.http.provided import provided

router = APIRouter(tags=["auth"])


@router.get(
    "/.well-known/jwks.json",
    summary="The public keys that verify access tokens",
    response_model=JsonWebKeySet,
    response_model_exclude_none=True,
    responses=problem_responses(UpstreamUnavailable),
    operation_id="getJwks",
)
@public
async def jwks(response: Response, keys: Annotated[KeyRing, provided("keys")]) -> dict[str, list[dict[str, str]]]:
    """A JSON Web Key Set (RFC 7517). A new key appears here before it signs its first token."""
    response.headers["Cache-Control"] = f"public, max-age={int(keys.max_age.total_seconds())}"
    return await keys.published()
