"""Bodies about domains."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_auth.domains.domain import OwnedDomain
from docuchat_common.http.json_body import StrictBody


class NewDomain(StrictBody):
    """A domain of mail to be proven."""

    domain: str = Field(min_length=4, max_length=253, examples=["acme.example"], description="Exactly this one.")


class DnsRecord(BaseModel):
    """A record to publish in the DNS of the domain."""

    type: Literal["TXT"] = "TXT"
    name: str = Field(examples=["_docuchat-challenge.acme.example"])
    value: str = Field(examples=["docuchat-verification=o1tXr8e4Vf0mC4y5JmQhF2bqz0j2Dg0h8fYkq3S1xZk"])


class DomainView(BaseModel):
    """A domain of the tenant."""

    id: UUID
    domain: str = Field(examples=["acme.example"])
    record: DnsRecord
    created_at: datetime
    verified_at: datetime | None = Field(description="Since when it is proven; null: it is not yet.")

    @classmethod
    def of(cls, domain: OwnedDomain) -> "DomainView":
        """Present a domain."""
        return cls(
            id=domain.id,
            domain=domain.domain,
            record=DnsRecord(name=domain.record_name, value=domain.record_value),
            created_at=domain.created_at,
            verified_at=domain.verified_at,
        )
