"""The credentials of a chatbot, as chat asks auth for them. All of it with `X-Internal-Token`.

`PUT /internal/chatbots/{id}` takes Credentials and gives IssuedCredentials, `POST …/rotate` takes Rotation and gives
IssuedCredentials, `DELETE …?tenant_id=` ends them all. Each may be repeated.
"""

import re
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from docuchat_common.errors import NotFound

PATH: Final = "/internal/chatbots/{chatbot_id}"
ROTATE_PATH: Final = f"{PATH}/rotate"
PREFIX: Final = "pub_"
OVERLAP: Final = timedelta(hours=1)
LONGEST_OVERLAP: Final = timedelta(days=30)
MOST_ORIGINS: Final = 50

_PUBLISHABLE: Final = re.compile(rf"{PREFIX}([0-9a-f]{{32}})", re.ASCII)
_ANY_BELOW: Final = "*."
_PORTS: Final = {"http": 80, "https": 443}


class ChatbotNotFound(NotFound):
    """There is no such chatbot."""

    code = "chatbot_not_found"


def path_of(chatbot_id: UUID) -> str:
    """Where auth keeps the credentials of one chatbot."""
    return PATH.format(chatbot_id=chatbot_id)


def rotate_path_of(chatbot_id: UUID) -> str:
    """Where auth gives one chatbot's key another secret."""
    return ROTATE_PATH.format(chatbot_id=chatbot_id)


def publishable_id(chatbot_id: UUID) -> str:
    """What a page names the chatbot by. It is no secret: it opens nothing without a page of the right origin."""
    return f"{PREFIX}{chatbot_id.hex}"


def parse_chatbot_id(text: str) -> UUID | None:
    """The chatbot that is named by its id or its publishable id; None when it is neither."""
    match = _PUBLISHABLE.fullmatch(text)
    try:
        return UUID(match[1] if match else text)
    except ValueError:
        return None


def parse_origin(text: str) -> str:
    """The origin of pages, as browsers send it: `https://shop.example.com`, `https://*.example.com`.

    A star stands for one name or more below a domain. ValueError for what is no origin.
    """
    written = text.strip().rstrip("/").lower()
    try:
        parts = urlsplit(written)
        host, port = parts.hostname or "", parts.port
        below = _ANY_BELOW if host.startswith(_ANY_BELOW) else ""
        host = host.removeprefix(_ANY_BELOW)
        name = f"[{host}]" if ":" in host else host.encode("idna").decode() if host else ""
    except ValueError:
        name = below = ""
    if (
        not re.fullmatch(r"[a-z0-9.-]+|\[[0-9a-f:.]+\]", name)
        or parts.scheme not in _PORTS
        or parts.path
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
        or (below and name.count(".") < 1)
    ):
        raise ValueError("must be the origin of a page, like https://shop.example.com or https://*.example.com")
    suffix = "" if port is None or port == _PORTS[parts.scheme] else f":{port}"
    return f"{parts.scheme}://{below}{name}{suffix}"


def is_of(origin: str, allowed: tuple[str, ...]) -> bool:
    """Whether a page of `origin` is one of those that are `allowed`, which `parse_origin` made."""
    if "*" in origin:
        return False
    if origin in allowed:
        return True
    scheme, _, host = origin.partition("://")
    if not re.fullmatch(r"[a-z0-9.-]+(:\d+)?", host):
        return False
    names = host.split(".")
    return any(f"{scheme}://*.{'.'.join(names[at:])}" in allowed for at in range(1, len(names)))


Origin = Annotated[str, Field(max_length=300), AfterValidator(parse_origin)]
"""An origin of pages, or all below a domain, in the one way it is written."""


Asker = Literal["user", "key", "chatbot"]
"""Who has a chatbot's credentials changed: a person, an API key, or chat for the chatbot itself."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class _Asked(_Message):
    tenant_id: int = Field(ge=1)
    valid_until: AwareDatetime | None = None
    """When whoever asks has given up: from then on it is not to be done, since something else may have been asked."""


class Credentials(_Asked):
    """What a chatbot's credentials are to be: which pages may show it, and who asks for that."""

    origins: tuple[Origin, ...] = Field(max_length=MOST_ORIGINS)
    made_by: UUID
    made_by_type: Asker = "user"


class Rotation(_Asked):
    """Another secret; the one before goes on for so long."""

    overlap_seconds: int = Field(ge=0, le=int(LONGEST_OVERLAP.total_seconds()))
    by: UUID
    by_type: Asker = "user"


class SecretView(_Message):
    """A secret of a chatbot's key, as far as it may be seen."""

    prefix: str = Field(examples=["dck_019a00000000700080000000000000aa_1f2e"])
    created_at: datetime
    ends_at: datetime | None = Field(description="When it gives way to the newer one.")
    last_used_at: datetime | None = Field(description="To a few minutes.")
    last_used_from: str | None = Field(description="The client's address.", examples=["192.0.2.7"])


class KeyView(_Message):
    """A chatbot's key."""

    id: UUID
    secrets: tuple[SecretView, ...] = Field(description="The newest first; two while one takes the other's place.")


class IssuedCredentials(_Message):
    """A chatbot's key, with its newest secret where that was made just now."""

    secret_key: str | None = Field(default=None, repr=False, description="Shown this once; null: it is there already.")
    key: KeyView | None = Field(description="null: it was revoked; a rotation makes another.")
