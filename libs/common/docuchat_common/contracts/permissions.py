"""Who may do what: roles, actions, and the one table of both. Every service asks it through `Caller.can`."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal, get_args


class Role(StrEnum):
    """What a user is inside the own tenant."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"


Action = Literal[
    "documents.read",
    "documents.add",
    "documents.manage",
    "collections.manage",
    "chats.use",
    "chats.follow",
    "chatbots.read",
    "chatbots.manage",
    "chatbots.ask",
    "models.use",
    "mcp.use",
    "usage.read",
    "usage.manage",
    "account.use",
    "data.export",
    "keys.use",
    "keys.manage",
    "users.read",
    "users.manage",
    "groups.manage",
    "tenant.read",
    "tenant.manage",
    "tenant.own",
    "audit.read",
    "identity.manage",
    "directory.sync",
    "providers.manage",
]
"""What a permission allows, and what the scope of an API key is called. `….use` and `documents.add` are about what is
one's own; `….manage` is about what belongs to others of the tenant. `chatbots.ask` is to ask in public, which needs a
chatbot's key or a visitor's token; `chats.follow` is what is done with an answer: resume, stop, rate it; `mcp.use`
is to be an assistant or an editor (MCP), whose tools ask for more; `models.use`
is to ask by the protocols of others, as OpenAI's clients do: a program does, a visitor of a page does not."""

Permission = Action | Literal["public", "operator"]
"""What an operation asks of its caller: an action, to be an operator, or nothing."""

ACTIONS: Final[frozenset[Action]] = frozenset(get_args(Action))

_OWNER: Final[frozenset[Action]] = ACTIONS - {"chatbots.ask"}
_ADMIN: Final[frozenset[Action]] = _OWNER - {"tenant.own"}
_VIEWER: Final[frozenset[Action]] = frozenset(
    {
        "documents.read",
        "chats.use",
        "chats.follow",
        "chatbots.read",
        "models.use",
        "mcp.use",
        "usage.read",
        "account.use",
        "data.export",
        "tenant.read",
    }
)
_MEMBER: Final[frozenset[Action]] = _VIEWER | {"documents.add", "keys.use"}
_OF_CHATBOT: Final[frozenset[Action]] = frozenset({"chatbots.ask", "chats.follow"})

CHATBOT: Final = "chatbot"
"""The role of a chatbot's program, which comes with the chatbot's key."""
VISITOR: Final = "visitor"
"""The role of whoever asks a chatbot on a page that shows it."""

PERMISSIONS: Final[Mapping[str, frozenset[Action]]] = {
    Role.OWNER: _OWNER,
    Role.ADMIN: _ADMIN,
    Role.MEMBER: _MEMBER,
    Role.VIEWER: _VIEWER,
    CHATBOT: _OF_CHATBOT | {"mcp.use", "models.use"},
    VISITOR: _OF_CHATBOT,
}
"""Which role may do what; a role that does not stand here may do nothing."""

IMPLIED: Final[Mapping[Action, frozenset[Action]]] = {
    "chats.follow": frozenset({"chats.use"}),
    "chatbots.read": frozenset({"chats.use", "chatbots.manage"}),
    "models.use": frozenset({"chats.use", "chatbots.ask"}),
    "mcp.use": frozenset({"chats.use", "chatbots.ask", "documents.read"}),
}
"""What the scope of any of some other actions allows as well: who may ask may follow the answer and ask by whatever
protocol, and who may ask or manage chatbots sees which there are; who may ask or read may do
so by an assistant."""

PERSONAL: Final[frozenset[Action]] = frozenset({"identity.manage", "providers.manage"})
"""What no API key may do: whoever finds one could make a provider that lets in whom they like, or have the questions of
all answered, and read, at an address of theirs."""

ENROLMENT: Final[frozenset[Action]] = frozenset({"account.use"})
"""All that a user's token is good for while the tenant demands a second factor that the user has not set up."""
