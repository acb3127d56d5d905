"""An API key, `dck_<id>_<secret>`, and what auth gives the gateway for one."""

from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from docuchat_common.contracts.credentials import Credential, new_credential, parse_credential

PATH: Final = "/internal/api-keys/exchange"
PREFIX: Final = "dck_"

ApiKeySecret = Credential


class KeyExchange(BaseModel):
    """A key, and the address of the client that showed it."""

    model_config = ConfigDict(hide_input_in_errors=True)

    key: str = Field(repr=False, max_length=512)
    address: str = Field(max_length=64)


class KeyToken(BaseModel):
    """A short access token in place of a key."""

    access_token: str = Field(repr=False)
    expires_in: int


def new_api_key(key_id: UUID) -> ApiKeySecret:
    """Another secret of the key with this id."""
    return new_credential("dck", key_id)


def parse_api_key(text: str) -> ApiKeySecret | None:
    """The key in `text`; None when it is none."""
    return parse_credential("dck", text)
