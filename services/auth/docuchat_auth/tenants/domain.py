"""A tenant, and how clients refer to it."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from docuchat_common.ids import TenantId

Slug = NewType("Slug", str)

# A slug is a DNS label that is not a number, so that X-Tenant-ID can take either without doubt.
_SLUG = re.compile(r"(?!\d+\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_TENANT_ID = re.compile(r"[1-9]\d{0,9}\Z", re.ASCII)
_MAX_TENANT_ID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Tenant:
    """One customer company."""

    id: TenantId
    slug: Slug
    name: str
    signup_open: bool
    created_at: datetime


def parse_tenant_reference(reference: str) -> TenantId | Slug | None:
    """Read a tenant id or slug as clients send it; None when it can be neither."""
    reference = reference.strip()
    if _TENANT_ID.match(reference):
        number = int(reference)
        return TenantId(number) if number <= _MAX_TENANT_ID else None
    return Slug(reference) if _SLUG.match(reference) else None


def parse_slug(text: str) -> Slug | None:
    """A valid slug, or None."""
    return Slug(text) if _SLUG.match(text) else None
