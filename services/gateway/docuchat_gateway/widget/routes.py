"""`/widget.js` and `/widget/{name}.js`, the script; a chatbot's tag for it; a page to try it."""

from html import escape
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse

from docuchat_common.contracts.chatbots import ChatbotNotFound, parse_chatbot_id, publishable_id
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.http.identity import bearer_token
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import Responses, raises
from docuchat_common.http.provided import provided
from docuchat_gateway.widget.domain import Build
from docuchat_gateway.widget.errors import WidgetNotBuilt
from docuchat_gateway.widget.ports import SeenChatbots
from docuchat_gateway.widget.schemas import SnippetView
from docuchat_gateway.widget.service import WidgetService
from docuchat_gateway.widget.snippet import snippet_of, tag_of

PREFIX: Final = "/widget"

router = APIRouter(route_class=JsonRoute)

Widget = Annotated[WidgetService, provided("widget")]
PublicUrl = Annotated[str, provided("settings.public_url")]
_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_FOR_NOW: Final = "public, max-age=300"
_SHARED: Final = {
    # for pages of all origins, with and without CORS: a script with `integrity` is fetched with it
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Vary": "Accept-Encoding",
}
_TAGS: Final = ("text/html", "text/plain")
_SNIPPET: Final[Responses] = {
    200: {
        "description": "The tag and what it needs; the tag alone where `Accept` asks for HTML or text",
        "content": {media_type: {"schema": {"type": "string"}} for media_type in _TAGS},
    }
}
_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>The widget</title>
<link rel="stylesheet" href="/pages/page.css">
{tag}
</head>
<body>
<main>
  <h1>The widget</h1>
  <p>A page with nothing but a heading and the tag of a chatbot, under a strict Content-Security-Policy.</p>
  <p>The chatbot <code>{chatbot}</code> answers here when it is published and its origins name
    <code>{origin}</code>.</p>
</main>
</body>
</html>
"""


@router.get("/widget.js", include_in_schema=False)
@router.head("/widget.js", include_in_schema=False)
async def present_script(request: Request, widget: Widget) -> Response:
    """The present build, for who wants each upgrade at once: without an integrity hash."""
    return _script(request, widget.get_present(), _FOR_NOW)


@router.get(PREFIX + "/demo", include_in_schema=False)
async def demo(
    request: Request, widget: Widget, public_url: PublicUrl, chatbot: Annotated[str, Query(max_length=100)]
) -> Response:
    """A page that shows a chatbot."""
    chatbot_id = parse_chatbot_id(chatbot)
    if chatbot_id is None:
        raise ChatbotNotFound
    named = publishable_id(chatbot_id)
    # of this server by whichever name the browser knows it: 'self' of the policy
    page = _PAGE.format(tag=tag_of(widget.get_present(), "", named), chatbot=named, origin=escape(public_url))
    return HTMLResponse(page, headers={"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-cache"})


@router.get(PREFIX + "/{name}.js", include_in_schema=False)
@router.head(PREFIX + "/{name}.js", include_in_schema=False)
async def script(request: Request, name: str, widget: Widget) -> Response:
    """A build under its name."""
    return _script(request, await widget.get(name), _FOR_GOOD)


@router.get(
    "/v1/chatbots/{chatbot_id}/snippet",
    tags=["chatbots"],
    summary="Get the tag that shows a chatbot on a page",
    response_model=SnippetView,
    responses=_SNIPPET,
)
@raises(ChatbotNotFound, WidgetNotBuilt, UpstreamUnavailable)
async def get_snippet(
    chatbot_id: Annotated[UUID, Path(description="Id of a chatbot.")],
    request: Request,
    _: Annotated[Caller, requires("chatbots.read")],
    widget: Widget,
    chatbots: Annotated[SeenChatbots, provided("seen_chatbots")],
    public_url: PublicUrl,
) -> Response:
    """Get one script tag with the integrity hash of the present widget.

    The script of a tag is served unchanged for two years after the last upgrade; docs/widget.md has the rest.
    """
    chatbot = await chatbots.get_seen(chatbot_id, bearer_token(request.headers))
    snippet = snippet_of(widget.get_present(), public_url, chatbot)
    accepted = request.headers.get("accept", "").lower()
    wanted = next((part.partition(";")[0].strip() for part in accepted.split(",")), "")
    if wanted in _TAGS:
        return PlainTextResponse(f"{snippet.html}\n", media_type=wanted)
    return JSONResponse(snippet.model_dump(mode="json"))


def _script(request: Request, build: Build, cache: str) -> Response:
    etag = f'"{build.name}"'
    headers = {**_SHARED, "Cache-Control": cache, "ETag": etag}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if known & {etag, "*"}:
        return Response(status_code=304, headers=headers)
    body = build.script
    if _takes_gzip(request.headers.get("accept-encoding", "")):
        body = build.packed
        headers["Content-Encoding"] = "gzip"
    return Response(body, media_type="text/javascript", headers=headers)


def _takes_gzip(accepted: str) -> bool:
    for part in accepted.lower().split(","):
        name, _, weight = part.replace(" ", "").partition(";q=")
        if name in {"gzip", "*"}:
            return weight not in {"0", "0.0", "0.00", "0.000"}
    return False
