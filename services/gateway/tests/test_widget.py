"""The widget's script under its names, through upgrades, and the tag of a chatbot."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import os
import re
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from services.gateway.tests.conftest import Gateway, OpenGateway
from services.gateway.tests.fakes import Behind

from docuchat_common.blobs import Blobs
from docuchat_gateway.widget.domain import Build
from docuchat_gateway.widget.errors import WidgetNotFound
from docuchat_gateway.widget.service import FOLDER, KEPT, WidgetService
from docuchat_gateway.widget.snippet import snippet_of
from docuchat_testkit.eventually import eventually

PUBLIC = "https://chat.example.com"
_TAG = re.compile(
    rf'<script src="{PUBLIC}(/widget/[^"]+\.js)" integrity="(sha384-[^"]+)" crossorigin="anonymous" defer '
    r'data-chatbot="(pub_[0-9a-f]{32})"></script>'
)


def script_of(version: str, body: str = "") -> bytes:
    return f"/*! DocuChat widget {version} */\n(function(){{/* {body} سلام */}})();\n".encode()


def hash_of(script: bytes) -> str:
    return f"sha384-{base64.b64encode(hashlib.sha384(script).digest()).decode()}"


BUILD = Build.of(script_of("1.0.0"))


@pytest.fixture
def widget_file(tmp_path: Path) -> Path:
    file = tmp_path / "widget.js"
    file.write_bytes(BUILD.script)
    return file


class Chatbot:
    """A chatbot as chat shows it."""

    def __init__(self, behind: Behind, **changes: Any) -> None:
        self.id = uuid.uuid4()
        self.publishable_id = f"pub_{self.id.hex}"
        shown = {"id": str(self.id), "publishable_id": self.publishable_id, "published": {"version": 1}}
        self.shown: dict[str, Any] = shown | {"origins": ["https://shop.example.com"]} | changes
        self.asked: list[str] = []
        behind.answer = self.answer

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers["Authorization"])
        if request.path != f"/v1/chatbots/{self.id}":
            return web.json_response({"code": "chatbot_not_found", "detail": "None."}, status=404)
        return web.json_response(self.shown)

    @property
    def path(self) -> str:
        return f"/v1/chatbots/{self.id}/snippet"


async def stored(gateway: Gateway) -> None:
    """Wait until the gateway has put its build away."""

    async def is_there() -> bool:
        return bool([path for path in gateway.stored() if FOLDER in str(path)])

    await eventually(is_there)


async def load(gateway: Gateway, path: str, **headers: str) -> tuple[aiohttp.ClientResponse, bytes]:
    sent = {"Accept-Encoding": "identity"} | headers
    async with gateway.http.get(path, headers=sent, auto_decompress=False) as response:
        return response, await response.read()


async def test_a_tag_loads_with_its_hash_through_three_upgrades(
    open_gateway: OpenGateway, behind: Behind, widget_file: Path
) -> None:
    chatbot, tags = Chatbot(behind), list[tuple[str, str]]()
    for version in ("1.0.0", "1.0.1", "1.1.0", "2.0.0"):
        await asyncio.to_thread(widget_file.write_bytes, script_of(version))
        async with open_gateway(widget_file=widget_file, public_url=PUBLIC) as gateway:
            answer = await gateway.call("GET", chatbot.path, headers=gateway.headers() | {"Accept": "text/html"})
            match = _TAG.fullmatch((await answer.text()).strip())
            assert match
            assert match[3] == chatbot.publishable_id
            tags.append((match[1], match[2]))
            await stored(gateway)
            for path, integrity in tags:
                response, script = await load(gateway, path, Origin="https://shop.example.com")
                assert (response.status, hash_of(script)) == (200, integrity)
                assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
                assert response.headers["Access-Control-Allow-Origin"] == "*"
                assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
            _, present = await load(gateway, "/widget.js")
            assert present == script_of(version)
    assert len({integrity for _, integrity in tags}) == 4


async def test_gateways_of_different_versions_serve_each_others_builds(
    open_gateway: OpenGateway, tmp_path: Path
) -> None:
    files = [tmp_path / "old.js", tmp_path / "new.js"]
    builds = [Build.of(script_of("1.0.0")), Build.of(script_of("1.0.1"))]
    for file, build in zip(files, builds, strict=True):
        file.write_bytes(build.script)
    async with open_gateway(widget_file=files[0]) as old:
        await stored(old)
        missing = f"/widget/{builds[1].name}.js"
        assert (await old.call("GET", missing)).status == 404
        async with open_gateway(widget_file=files[1]) as new:
            service = new.container.widget
            await service.keep_up()
            for gateway in (old, new):
                for build in builds:
                    response, script = await load(gateway, f"/widget/{build.name}.js")
                    assert (response.status, script) == (200, build.script)


async def test_a_script_is_packed_for_who_takes_it_and_said_to_be_known_to_who_has_it(
    open_gateway: OpenGateway, widget_file: Path
) -> None:
    async with open_gateway(widget_file=widget_file) as gateway:
        for path in ("/widget.js", f"/widget/{BUILD.name}.js"):
            plain, script = await load(gateway, path)
            packed, body = await load(gateway, path, **{"Accept-Encoding": "br, gzip"})
            assert (script, gzip.decompress(body)) == (BUILD.script, BUILD.script)
            assert "Content-Encoding" not in plain.headers
            assert packed.headers["Content-Encoding"] == "gzip"
            refused, as_is = await load(gateway, path, **{"Accept-Encoding": "br, gzip;q=0"})
            assert ("Content-Encoding" in refused.headers, as_is) == (False, BUILD.script)
            assert {plain.headers["Vary"], packed.headers["Vary"]} == {"Accept-Encoding"}
            known, nothing = await load(gateway, path, **{"If-None-Match": plain.headers["ETag"]})
            assert (known.status, nothing) == (304, b"")
            head = await gateway.call("HEAD", path)
            assert (head.status, head.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
        assert (await gateway.call("GET", "/widget.js")).headers["Cache-Control"] == "public, max-age=300"


@pytest.mark.parametrize(
    "name",
    [
        "1.0.0-%2e%2e",
        "..%2f..%2ftenants%2f1%2fsecret",
        "%2e%2e%2fsecret",
        "1.0.0-0123456789abcdef01234567%00",
        "1.0.0-0123456789ABCDEF01234567",
        "1.0.0-0123456789abcdef01234567",
    ],
)
async def test_a_name_leads_to_nothing_but_builds(open_gateway: OpenGateway, widget_file: Path, name: str) -> None:
    async with open_gateway(widget_file=widget_file) as gateway:
        (gateway.blobs / "public" / "widget").mkdir(parents=True, exist_ok=True)
        for place in ("public/secret.js", "public/widget/1.0.0-...js"):
            (gateway.blobs / place).write_bytes(b"what is in the store")
        async with gateway.http.get(f"/widget/{name}.js") as response:
            assert response.status == 404
            assert b"what is in the store" not in await response.read()


async def test_what_is_stored_under_a_name_is_served_only_when_it_is_that_build(
    open_gateway: OpenGateway, widget_file: Path
) -> None:
    other = Build.of(script_of("0.9.0"))
    async with open_gateway(widget_file=widget_file) as gateway:
        await stored(gateway)
        (gateway.blobs / FOLDER / f"{other.name}.js").write_bytes(script_of("0.9.0", "and something else"))
        answer = await gateway.call("GET", f"/widget/{other.name}.js")
        assert (answer.status, (await answer.json())["code"]) == (404, "widget_not_found")


async def test_a_build_is_kept_two_years_after_it_was_last_the_present_one(tmp_path: Path) -> None:
    class Later:
        by = timedelta()

        def now(self) -> datetime:
            return datetime.now(UTC) + self.by

    clock, blobs = Later(), Blobs(tmp_path.as_uri())
    old, new = Build.of(script_of("1.0.0")), Build.of(script_of("1.0.1"))
    (tmp_path / "tenants").mkdir()
    (tmp_path / "tenants" / "old.js").write_bytes(b"of a tenant")
    a_year = time.time() - timedelta(days=365).total_seconds()
    await WidgetService(blobs, old, clock=clock).keep_up()
    os.utime(tmp_path / FOLDER / f"{old.name}.js", (a_year, a_year))
    await WidgetService(blobs, old, clock=clock).keep_up()  # it still is: with the date of today
    service = WidgetService(blobs, new, clock=clock)
    clock.by = KEPT - timedelta(hours=1)
    await service.keep_up()
    assert (await service.get(old.name)).script == old.script
    clock.by = KEPT + timedelta(hours=1)
    await service.keep_up()
    with pytest.raises(WidgetNotFound):
        await WidgetService(blobs, new).get(old.name)
    assert (await WidgetService(blobs, None).get(new.name)).script == new.script
    assert (tmp_path / "tenants" / "old.js").exists()


async def test_a_build_that_is_the_present_one_again_is_not_deleted_for_its_old_date(tmp_path: Path) -> None:
    blobs, long_ago = Blobs(tmp_path.as_uri()), time.time() - 2 * KEPT.total_seconds()
    await WidgetService(blobs, BUILD).keep_up()
    os.utime(tmp_path / FOLDER / f"{BUILD.name}.js", (long_ago, long_ago))
    await WidgetService(blobs, BUILD).keep_up()
    assert (await WidgetService(blobs, None).get(BUILD.name)).script == BUILD.script


@pytest.mark.parametrize("server", ["http://localhost:8000", "http://127.0.0.1:8000", "http://[::1]:8000"])
def test_a_tag_says_when_nobody_else_reaches_its_server(server: str) -> None:
    shown = {"id": "1", "publishable_id": "pub_1", "published": {"version": 1}, "origins": ["https://shop.example.com"]}
    (note,) = snippet_of(BUILD, server, shown).notes
    assert server in note and "PUBLIC_URL" in note


async def test_unknown_names_cost_one_look_at_the_store_and_not_one_each(tmp_path: Path) -> None:
    class Counted(Blobs):
        looks = 0

        def list(self, prefix: str) -> Any:
            self.looks += 1
            return super().list(prefix)

    blobs = Counted(tmp_path.as_uri())
    service = WidgetService(blobs, None)
    for n in range(20):
        with pytest.raises(WidgetNotFound):
            await service.get(f"not-a-name-{n}")
    assert blobs.looks == 0
    names = [f"1.0.0-{n:024x}" for n in range(50)]
    found = await asyncio.gather(*(service.get(name) for name in names), return_exceptions=True)
    assert {type(error) for error in found} == {WidgetNotFound}
    assert blobs.looks == 1


async def test_a_tag_says_what_is_missing_and_what_a_page_must_allow(
    open_gateway: OpenGateway, behind: Behind, widget_file: Path
) -> None:
    async with open_gateway(widget_file=widget_file, public_url=f"{PUBLIC}/") as gateway:
        ready, bare = Chatbot(behind), Chatbot(behind, published=None, origins=[])
        headers = gateway.headers(role="admin")
        snippet = await (await gateway.call("GET", bare.path, headers=headers)).json()
        assert len(snippet["notes"]) == 2
        assert bare.asked == [headers["Authorization"]]
        assert snippet["content_security_policy"] == f"script-src {PUBLIC}; connect-src {PUBLIC}"
        assert snippet["version"] == "1.0.0"
        assert snippet["integrity"] == hash_of(BUILD.script)
        match = _TAG.fullmatch(snippet["html"])
        assert match
        assert snippet["script_url"] == f"{PUBLIC}{match[1]}"
        behind.answer = ready.answer
        snippet = await (await gateway.call("GET", ready.path, headers=headers)).json()
        assert (snippet["notes"], snippet["origins"]) == ([], ["https://shop.example.com"])
        behind.answer = bare.answer
        refused = await gateway.call("GET", ready.path, headers=headers)
        assert (refused.status, (await refused.json())["code"]) == (404, "chatbot_not_found")
        text = await gateway.call("GET", bare.path, headers=headers | {"Accept": "text/plain"})
        assert text.content_type == "text/plain"
        assert _TAG.fullmatch((await text.text()).strip())


async def test_without_a_build_the_rest_works_and_the_widget_says_what_to_do(
    open_gateway: OpenGateway, behind: Behind, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.js"
    broken.write_bytes(b"alert(1)")
    for file in (None, tmp_path / "none.js", broken):
        async with open_gateway(widget_file=file) as gateway:
            chatbot = Chatbot(behind)
            for path in ("/widget.js", f"/widget/demo?chatbot={chatbot.publishable_id}", chatbot.path):
                answer = await gateway.call("GET", path, headers=gateway.headers())
                problem = await answer.json()
                assert (answer.status, problem["code"]) == (503, "widget_not_built")
                assert "deploy/web.sh" in problem["detail"]
            assert (await gateway.call("GET", "/readyz")).status == 200


async def test_the_page_to_try_it_runs_nothing_but_the_script(open_gateway: OpenGateway, widget_file: Path) -> None:
    async with open_gateway(widget_file=widget_file) as gateway:
        chatbot = uuid.uuid4()
        page = await gateway.call("GET", f"/widget/demo?chatbot={chatbot}")
        policy, html = page.headers["Content-Security-Policy"], await page.text()
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert f'<script src="/widget/{BUILD.name}.js" integrity="{BUILD.integrity}"' in html
        assert f'data-chatbot="pub_{chatbot.hex}"' in html
        for bad in ('"><script>alert(1)</script>', "pub_x"):
            refused = await gateway.call("GET", "/widget/demo", params={"chatbot": bad})
            assert (refused.status, (await refused.json())["code"]) == (404, "chatbot_not_found")
