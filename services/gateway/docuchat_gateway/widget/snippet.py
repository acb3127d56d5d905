"""The tag that shows a chatbot on a page, and what it lacks."""

from collections.abc import Mapping
from html import escape
from typing import Any, Final
from urllib.parse import urlsplit

from docuchat_gateway.widget.domain import Build
from docuchat_gateway.widget.schemas import SnippetView

_NOT_PUBLISHED: Final = "The chatbot is not published, so it answers nobody: POST /v1/chatbots/{}/publish."
_NO_ORIGINS: Final = (
    "No page may show the chatbot: name the origins of your pages, such as https://shop.example.com, in its `origins`."
)
_ONLY_HERE: Final = "The address of this server is {}, which only this machine reaches: set PUBLIC_URL."
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def tag_of(build: Build, server: str, chatbot: str) -> str:
    """The script tag; `server` is its address as browsers know it, without a slash at the end."""
    return (
        f'<script src="{escape(script_url(build, server))}" integrity="{build.integrity}" crossorigin="anonymous" '
        f'defer data-chatbot="{escape(chatbot)}"></script>'
    )


def script_url(build: Build, server: str) -> str:
    """Where the build is served for good."""
    return f"{server}/widget/{build.name}.js"


def snippet_of(build: Build, server: str, chatbot: Mapping[str, Any]) -> SnippetView:
    """The tag of a chatbot, which is as chat shows it to the caller."""
    parts = urlsplit(server)
    origin, origins = f"{parts.scheme}://{parts.netloc}", chatbot["origins"]
    notes = []
    if chatbot["published"] is None:
        notes.append(_NOT_PUBLISHED.format(chatbot["id"]))
    if origins is not None and not origins:
        notes.append(_NO_ORIGINS)
    if parts.hostname in _LOOPBACK:
        notes.append(_ONLY_HERE.format(server))
    return SnippetView(
        html=tag_of(build, server, chatbot["publishable_id"]),
        publishable_id=chatbot["publishable_id"],
        script_url=script_url(build, server),
        integrity=build.integrity,
        version=build.version,
        origins=origins,
        content_security_policy=f"script-src {origin}; connect-src {origin}",
        notes=notes,
    )
