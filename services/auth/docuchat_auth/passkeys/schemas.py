"""Bodies about passkeys: credentials as browsers write them (`PublicKeyCredential.toJSON`)."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from docuchat_auth.passkeys.domain import Passkey
from docuchat_common.http.json_body import Name, StrictBody

Base64Url = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,12000}=*$", max_length=12_000)]


class _OfBrowser(BaseModel):
    """Browsers say more than is read, and more with each version."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class CreationResponse(_OfBrowser):
    """What an authenticator answered when it made a passkey."""

    client_data_json: Base64Url = Field(alias="clientDataJSON")
    attestation_object: Base64Url = Field(alias="attestationObject")


class AssertionResponse(_OfBrowser):
    """What an authenticator signed."""

    client_data_json: Base64Url = Field(alias="clientDataJSON")
    authenticator_data: Base64Url = Field(alias="authenticatorData")
    signature: Base64Url
    user_handle: Base64Url | None = Field(default=None, alias="userHandle")


class _Credential(_OfBrowser):
    id: Base64Url
    raw_id: Base64Url = Field(alias="rawId")
    type: Literal["public-key"]

    def as_sent(self) -> dict[str, Any]:
        """With the browser's names."""
        return self.model_dump(by_alias=True)


class CreatedCredential(_Credential):
    """The answer of `navigator.credentials.create`."""

    response: CreationResponse


class AssertedCredential(_Credential):
    """The answer of `navigator.credentials.get`."""

    response: AssertionResponse


class NewPasskey(StrictBody):
    """A passkey that the browser has made."""

    name: Name = Field(description="What its owner calls it.", examples=["Laptop"])
    credential: CreatedCredential


class PasskeySignIn(StrictBody):
    """A passkey that the browser has found."""

    credential: AssertedCredential


class PasskeyOptions(BaseModel):
    """What a page gives to `navigator.credentials`, good for five minutes and once."""

    public_key: dict[str, Any] = Field(
        serialization_alias="publicKey",
        description="For `PublicKeyCredential.parseCreationOptionsFromJSON`, or `…parseRequestOptionsFromJSON`.",
    )


class PasskeyView(BaseModel):
    """One of one's passkeys."""

    id: UUID
    name: str = Field(examples=["Laptop"])
    backed_up: bool = Field(description="Whether a password manager keeps it on more than one device.")
    created_at: datetime
    last_used_at: datetime | None

    @classmethod
    def of(cls, passkey: Passkey) -> Self:
        """Present a passkey."""
        return cls(
            id=passkey.id,
            name=passkey.name,
            backed_up=passkey.attested.is_backed_up,
            created_at=passkey.created_at,
            last_used_at=passkey.last_used_at,
        )


class PasskeyList(BaseModel):
    """All of one's passkeys, the oldest first."""

    items: list[PasskeyView]
