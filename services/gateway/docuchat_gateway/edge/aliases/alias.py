"""A path that means another, and what is different about its bodies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlencode

from docuchat_common.http.claims import Identity

JsonObject: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class Exchange:
    """A request at an alias, for what makes its answer."""

    path: str
    """As the client wrote it."""
    named: Mapping[str, str]
    """The parameters of the path."""
    query: Mapping[str, str] = field(default_factory=dict)
    sent: JsonObject = field(default_factory=dict)
    """The client's own body, when it is a JSON object."""
    identity: Identity | None = None
    """Who asked; None when nobody is signed in."""
    headers: dict[str, str] = field(default_factory=dict)
    """What the answer says besides."""

    @property
    def user_id(self) -> str | None:
        """The user who asked, with a token or a key; None when nobody's user did."""
        if self.identity is None:
            return None
        user_id = self.identity.caller.user_id or self.identity.caller.owner_id
        return None if user_id is None else str(user_id)

    @property
    def customer_id(self) -> str | None:
        """The UUID of the tenant."""
        return self.identity.customer_id if self.identity is not None else None

    def link_next(self, cursor: str | None) -> None:
        """Say where the next page of a list is."""
        if cursor is not None:
            query = urlencode({**self.query, "cursor": cursor})
            self.headers["Link"] = f'<{self.path}?{query}>; rel="next"'


Asked: TypeAlias = Callable[[JsonObject], JsonObject]
Answered: TypeAlias = Callable[[Any, Exchange], Any]


@dataclass(frozen=True, slots=True)
class Alias:
    """What a foreign client asks for, and what of ours that is; where nothing else stands, the bodies are the same."""

    path: str
    methods: tuple[str, ...]
    target: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Their names of parameters of path and query, and ours."""
    tenant: str | None = None
    """The parameter of the path that names the tenant, as its header would."""
    asked: Asked | None = None
    """Makes our body of theirs; what it does not know it leaves in, so that the service behind refuses it."""
    answered: Answered | None = None
    """Makes their body of ours, when ours is JSON and no refusal."""
