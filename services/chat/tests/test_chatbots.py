"""Chatbots: made, edited, published, restored and deleted, whoever stops midway."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from aiohttp import ClientSession, web
from pydantic import ValidationError
from structlog.testing import capture_logs

from docuchat_chat.answers.environment import EnvironmentModels
from docuchat_chat.answers.errors import ModelNotAllowed
from docuchat_chat.chatbots.domain import Config, Edit, NewChatbot
from docuchat_chat.chatbots.errors import ChatbotChanged, NothingToPublish, TooManyChatbots
from docuchat_chat.chatbots.schemas import NewChatbotBody
from docuchat_chat.chatbots.service import ChatbotService
from docuchat_chat.chatbots.upkeep import ChatbotUpkeep
from docuchat_chat.conversations.orphans import Orphans
from docuchat_common.clock import SystemClock
from docuchat_common.contracts.chatbots import ChatbotNotFound
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.http.sign_ins import RecentSignInRequired
from docuchat_common.ids import ChatbotId, ChatId, CollectionId, TenantId, uuid7
from docuchat_knowledge.collections.errors import CollectionNotFound
from docuchat_testkit.eventually import eventually

fakes, running = sys.modules["chat_fakes"], sys.modules["chat_running"]
SHOP = NewChatbot("Shop", config=Config(greeting="Hi"), origins=("https://shop.example",))
KEPT = {
    "chatbots": "SELECT count(*) FROM chat.chatbots",
    "chatbot_versions": "SELECT count(*) FROM chat.chatbot_versions",
    "untold_chatbots": "SELECT count(*) FROM chat.untold_chatbots",
    "removed_chatbots": "SELECT count(*) FROM chat.removed_chatbots",
    "chats": "SELECT count(*) FROM chat.chats WHERE deleted_at IS NULL",
}
ROWS = """
    SELECT b::text AS row FROM chat.chatbots b
    UNION ALL SELECT v::text FROM chat.chatbot_versions v
    UNION ALL SELECT r::text FROM chat.idempotent_requests r
    UNION ALL SELECT o::text FROM chat.outbox o"""
"""All that is stored of chatbots, as text."""


class Workshop:
    """Chatbots of one tenant beside a world."""

    def __init__(self, world: Any) -> None:
        self.world, self.auth = world, fakes.FakeCredentials()
        self.late = timedelta()
        self.manager: Caller = replace(world.caller, role="admin", session_id=uuid7())
        self.chatbots = ChatbotService(world.transactions, self.auth, self, models=world.models, most=2)
        self.upkeep = ChatbotUpkeep(world.transactions, self.auth, patience=timedelta())
        self.orphans = Orphans(world.transactions, world.replay)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.late

    async def create(self, new: NewChatbot = SHOP) -> ChatbotId:
        return (await self.chatbots.create(self.manager, new)).edited.chatbot.id

    async def edit(self, chatbot_id: ChatbotId, revision: int | None = None, **draft: Any) -> Any:
        return await self.chatbots.edit(self.manager, chatbot_id, Edit({}, draft, revision))

    async def count(self, kept: str) -> int:
        return int((await self.world.rows(KEPT[kept]))[0]["count"])


@pytest.fixture
def workshop(bare_world: Any) -> Workshop:
    return Workshop(bare_world)


async def test_a_version_is_the_draft_of_its_moment_and_a_restored_one_is_a_new_one(workshop: Workshop) -> None:
    chatbots, manager = workshop.chatbots, workshop.manager
    chatbot_id = await workshop.create()
    assert (await chatbots.publish(manager, chatbot_id, None)).number == 1
    with pytest.raises(NothingToPublish):
        await chatbots.publish(manager, chatbot_id, None)
    await workshop.edit(chatbot_id, greeting="Hello")
    assert (await chatbots.live(manager, chatbot_id))[1].config.greeting == "Hi"
    assert (await chatbots.publish(manager, chatbot_id, None)).number == 2
    await workshop.edit(chatbot_id, greeting="Never shown")
    restored = await chatbots.restore(manager, chatbot_id, 1)
    assert (restored.number, restored.restored_from, restored.config.greeting) == (3, 1, "Hi")
    edited = await chatbots.get(manager, chatbot_id)
    assert (edited.draft.greeting, edited.has_changes, edited.live) == ("Hi", False, restored)
    with pytest.raises(NothingToPublish):
        await chatbots.restore(manager, chatbot_id, 3)
    await chatbots.unpublish(manager, chatbot_id)
    assert (await chatbots.publish(manager, chatbot_id, None)).number == 4
    events = await workshop.world.events()
    assert [
        (event.type, event.version)
        for event in events
        if event.type.startswith("chatbot.") and event.chatbot_id == chatbot_id
    ] == [
        *(("chatbot.published.v1", number) for number in (1, 2, 3)),
        ("chatbot.unpublished.v1", 3),
        ("chatbot.published.v1", 4),
    ]


async def test_a_chatbot_that_is_published_as_it_is_made_answers_at_once_or_is_not_made(workshop: Workshop) -> None:
    made = (await workshop.chatbots.create(workshop.manager, replace(SHOP, publish=True))).edited
    assert made.live == (await workshop.chatbots.live(workshop.manager, made.chatbot.id))[1]
    assert (made.live.number, made.has_changes) == (1, False)
    of_nothing = replace(SHOP, publish=True, config=Config(collections=(CollectionId(uuid7()),)))
    with pytest.raises(CollectionNotFound):
        await workshop.create(of_nothing)
    assert await workshop.count("chatbots") == 1


async def test_a_collection_that_the_publisher_cannot_read_is_not_shared(workshop: Workshop) -> None:
    chatbot_id = await workshop.create()
    await workshop.edit(chatbot_id, collections=(CollectionId(uuid7()),))
    with pytest.raises(CollectionNotFound):
        await workshop.chatbots.publish(workshop.manager, chatbot_id, None)
    await workshop.world.rows(
        "INSERT INTO knowledge.collections (id, tenant_id, name, visibility, is_default) "
        "VALUES ($1, 1, 'Board', 'restricted', false)",
        restricted := CollectionId(uuid7()),
    )
    await workshop.edit(chatbot_id, collections=(restricted,))
    with pytest.raises(CollectionNotFound):
        await workshop.chatbots.publish(replace(workshop.manager, role="member"), chatbot_id, None)
    version = await workshop.chatbots.publish(workshop.manager, chatbot_id, None)
    assert version.collections == (CollectionId(chatbot_id), restricted)


async def test_who_only_asks_sees_what_is_published(workshop: Workshop) -> None:
    asker = replace(workshop.manager, role="member")
    hidden, shown = await workshop.create(), await workshop.create()
    await workshop.chatbots.publish(workshop.manager, shown, None)
    assert [each.chatbot.id for each in await workshop.chatbots.list_chatbots(asker, 9, None, None)] == [shown]
    assert len(await workshop.chatbots.list_chatbots(workshop.manager, 9, None, "shop")) == 2
    assert (await workshop.chatbots.get(asker, shown)).live is not None
    with pytest.raises(ChatbotNotFound):
        await workshop.chatbots.get(asker, hidden)


async def test_two_editors_do_not_overwrite_each_other(workshop: Workshop) -> None:
    chatbot_id = await workshop.create()
    await asyncio.gather(workshop.edit(chatbot_id, greeting="A"), workshop.edit(chatbot_id, system_prompt="B"))
    edited = await workshop.chatbots.get(workshop.manager, chatbot_id)
    assert (edited.draft.greeting, edited.draft.system_prompt, edited.chatbot.revision) == ("A", "B", 3)
    both = [workshop.edit(chatbot_id, 3, greeting=text) for text in ("C", "D")]
    results = await asyncio.gather(*both, return_exceptions=True)
    (late,) = [result for result in results if isinstance(result, ChatbotChanged)]
    assert late.extensions == {"revision": 4}
    with pytest.raises(ChatbotChanged):
        await workshop.chatbots.publish(workshop.manager, chatbot_id, 3)


async def test_what_was_begun_without_auth_leaves_nothing(workshop: Workshop) -> None:
    workshop.auth.away = True
    with pytest.raises(UpstreamUnavailable):
        await workshop.create()
    assert await workshop.count("chatbots") == 0 and len(workshop.auth.secrets) == 1
    await workshop.upkeep.sweep()
    assert len(workshop.auth.secrets) == 1  # still away: it is tried again
    workshop.auth.away = False
    await workshop.upkeep.sweep()
    assert not workshop.auth.secrets and await workshop.count("untold_chatbots") == 0


async def test_a_creation_that_took_too_long_is_not_made_of_a_key_that_ended(workshop: Workshop) -> None:
    workshop.auth.gate = asyncio.Event()
    creating = asyncio.create_task(workshop.create())
    await eventually(lambda: workshop.count("untold_chatbots"))
    await workshop.upkeep.sweep()
    workshop.auth.gate.set()
    with pytest.raises(UpstreamUnavailable):
        await creating
    assert await workshop.count("chatbots") == 0


async def test_a_note_of_another_request_is_not_taken_for_the_own(workshop: Workshop) -> None:
    tenant_id, chatbot_id = workshop.manager.tenant_id, ChatbotId(uuid7())
    async with workshop.world.transactions(tenant_id) as tx:
        own, _ = [await tx.chatbots.note_untold(tenant_id, chatbot_id) for _ in range(2)]
        assert not await tx.chatbots.confirm_told(tenant_id, own, timedelta())
        assert await tx.chatbots.confirm_told(tenant_id, own, timedelta(hours=1))
        assert not await tx.chatbots.confirm_told(tenant_id, own, timedelta(hours=1))
    assert await workshop.count("untold_chatbots") == 1


async def test_origins_that_auth_was_told_unheard_are_told_as_they_are(workshop: Workshop) -> None:
    chatbot_id = await workshop.create()
    workshop.auth.away = True
    wider = Edit({"origins": ("https://other.example",)}, {})
    with pytest.raises(UpstreamUnavailable):
        await workshop.chatbots.edit(workshop.manager, chatbot_id, wider)
    workshop.auth.away = False
    assert workshop.auth.origins[chatbot_id] == ("https://other.example",)
    await workshop.upkeep.sweep()
    assert workshop.auth.origins[chatbot_id] == SHOP.origins
    itself = Caller(workshop.manager.tenant_id, "chatbot", chatbot_id)
    assert workshop.auth.asked_by == [workshop.manager, workshop.manager, itself]
    edited = await workshop.chatbots.edit(workshop.manager, chatbot_id, wider)
    assert workshop.auth.origins[chatbot_id] == edited.chatbot.origins == ("https://other.example",)
    assert await workshop.count("untold_chatbots") == 0


async def test_auth_is_told_nothing_of_an_edit_that_is_refused(workshop: Workshop) -> None:
    chatbot_id = await workshop.create()
    edit = Edit({"origins": ("https://other.example",)}, {"model": "no-such-model"})
    with pytest.raises(ModelNotAllowed):
        await workshop.chatbots.edit(workshop.manager, chatbot_id, edit)
    assert workshop.auth.origins[chatbot_id] == SHOP.origins
    assert await workshop.count("untold_chatbots") == 0


async def test_an_edit_amid_the_sweep_is_what_auth_knows_in_the_end(workshop: Workshop) -> None:
    chatbot_id = await workshop.create()
    workshop.auth.away = True
    with pytest.raises(UpstreamUnavailable):
        await workshop.chatbots.edit(workshop.manager, chatbot_id, Edit({"origins": ("https://other.example",)}, {}))
    workshop.auth.away, workshop.auth.gate = False, asyncio.Event()
    sweeping = asyncio.create_task(workshop.upkeep.sweep())
    await eventually(lambda: workshop.auth.waiting)
    slow, workshop.auth.gate = workshop.auth.gate, None
    newest = Edit({"origins": ("https://newest.example",)}, {})
    await workshop.chatbots.edit(workshop.manager, chatbot_id, newest)
    slow.set()  # what the sweep read before the edit reaches auth after it
    await sweeping
    assert workshop.auth.origins[chatbot_id] == SHOP.origins
    await workshop.upkeep.sweep()
    assert workshop.auth.origins[chatbot_id] == ("https://newest.example",)
    assert await workshop.count("untold_chatbots") == 0


async def test_the_sweep_does_not_take_for_told_what_is_just_being_changed(workshop: Workshop) -> None:
    chatbot_id, tenant_id = await workshop.create(), workshop.manager.tenant_id
    upkeep = ChatbotUpkeep(workshop.world.transactions, workshop.auth)
    async with workshop.world.transactions(tenant_id) as tx:
        await tx.chatbots.note_untold(tenant_id, chatbot_id)
    aged = "UPDATE chat.untold_chatbots SET noted_at = noted_at - interval '61 s'"
    await workshop.world.rows(aged)
    async with workshop.world.transactions(tenant_id) as tx:
        await tx.chatbots.note_untold(tenant_id, chatbot_id)  # an edit has told auth, and is about to commit
    await upkeep.sweep()
    assert await workshop.count("untold_chatbots") == 2
    await workshop.world.rows(aged)
    await upkeep.sweep()
    assert await workshop.count("untold_chatbots") == 0, "who began both has given up"


async def test_what_is_gone_is_told_of_ones_own_chatbots(workshop: Workshop) -> None:
    living, gone, tenant_id = await workshop.create(), await workshop.create(), workshop.manager.tenant_id
    await workshop.chatbots.delete(workshop.manager, gone)
    assert await workshop.chatbots.list_gone(tenant_id, [living, gone]) == [gone]
    assert await workshop.chatbots.list_gone(TenantId(99), [living]) == [living]


async def test_a_draft_whose_model_is_allowed_no_more_is_not_published(workshop: Workshop) -> None:
    chatbot_id = await workshop.create()
    await workshop.edit(chatbot_id, model=workshop.world.policy.default_model)
    others = EnvironmentModels(workshop.world.model, "openai", ("another",))
    since = ChatbotService(workshop.world.transactions, workshop.auth, SystemClock(), models=others, most=2)
    with pytest.raises(ModelNotAllowed):
        await since.publish(workshop.manager, chatbot_id, None)
    assert (await since.get(workshop.manager, chatbot_id)).live is None


async def test_a_second_model_must_be_allowed_as_the_first_must(workshop: Workshop) -> None:
    with pytest.raises(ModelNotAllowed):
        await workshop.chatbots.create(workshop.manager, NewChatbot("Shop", config=Config(fallback_model="gone")))
    chatbot_id = await workshop.create()
    with pytest.raises(ModelNotAllowed):
        await workshop.edit(chatbot_id, fallback_model="gone")
    await workshop.edit(chatbot_id, fallback_model="openai/gpt-4o")
    version = await workshop.chatbots.publish(workshop.manager, chatbot_id, None)
    assert version.config.fallback_model == "openai/gpt-4o"


async def test_a_tenant_has_so_many_chatbots_also_when_all_are_made_at_once(workshop: Workshop) -> None:
    made = await asyncio.gather(*(workshop.create() for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(each, TooManyChatbots) for each in made) == 3
    assert await workshop.count("chatbots") == 2


async def test_a_deleted_chatbot_takes_its_chats_with_it_and_its_key_ends(workshop: Workshop) -> None:
    chatbot_id, world = await workshop.create(), workshop.world
    await workshop.chatbots.publish(workshop.manager, chatbot_id, None)
    async with world.transactions(world.caller.tenant_id) as tx:
        for _ in range(3):
            await tx.chats.create(world.caller, ChatId(uuid7()), "Title")
    await world.rows(
        "UPDATE chat.chats SET chatbot_id = $1 WHERE id IN (SELECT id FROM chat.chats LIMIT 2)", chatbot_id
    )
    workshop.auth.away = True
    await workshop.chatbots.delete(workshop.manager, chatbot_id)
    workshop.auth.away = False
    with pytest.raises(ChatbotNotFound):
        await workshop.chatbots.live(workshop.manager, chatbot_id)
    assert await workshop.count("chatbot_versions") == 0
    # nobody swept for longer than it is remembered that a chatbot is gone: its chats are still to go
    await world.rows("UPDATE chat.removed_chatbots SET removed_at = now() - interval '2 days'")
    await workshop.upkeep.sweep()
    assert not workshop.auth.secrets and await workshop.count("untold_chatbots") == 0
    await workshop.orphans.sweep()
    assert await workshop.count("chats") == 1
    await workshop.upkeep.sweep()
    assert await workshop.count("removed_chatbots") == 0
    deleted = [event.chatbot_id for event in await world.events() if event.type == "chatbot.deleted.v1"]
    assert deleted == [chatbot_id]


async def test_a_stolen_token_and_a_program_see_no_secret(workshop: Workshop) -> None:
    manager, chatbots = workshop.manager, workshop.chatbots
    program = replace(manager, subject_type="key", scopes=frozenset({"chatbots.manage"}))
    by_program = await chatbots.create(program, SHOP)
    with pytest.raises(NotAllowed, match="A key makes no keys"):
        await chatbots.rotate_key(program, by_program.edited.chatbot.id, timedelta())
    workshop.late = timedelta(minutes=16)
    by_thief = await chatbots.create(manager, SHOP)
    for made in (by_program, by_thief):
        assert (made.credentials.secret_key, made.is_withheld) == (None, True)
        with pytest.raises(RecentSignInRequired):
            await chatbots.rotate_key(manager, made.edited.chatbot.id, timedelta())
    assert set(workshop.auth.secrets.values()) == {1}, "auth is asked for no other secret"
    workshop.late = timedelta(minutes=14)
    assert (await chatbots.rotate_key(manager, by_thief.edited.chatbot.id, timedelta())).secret_key


async def test_a_secret_stands_in_no_log_and_in_no_picture_of_an_object(workshop: Workshop) -> None:
    with capture_logs() as logged:
        made = await workshop.chatbots.create(workshop.manager, SHOP)
        chatbot_id = made.edited.chatbot.id
        rotated = await workshop.chatbots.rotate_key(workshop.manager, chatbot_id, timedelta())
        workshop.auth.away = True
        await workshop.chatbots.delete(workshop.manager, chatbot_id)
        await workshop.upkeep.sweep()
    secrets = [made.credentials.secret_key, rotated.secret_key]
    assert {line["event"] for line in logged} >= {"chatbot.credentials_left", "chatbot.auth_not_told"}
    assert all(secret and secret not in f"{logged} {made!r} {rotated!r}" for secret in secrets)


class AuthServer:
    """Auth as chat sees it: chatbots' credentials, and beside them what the mint of tokens serves."""

    def __init__(self, mint: Any) -> None:
        self.mint, self.credentials, self.url = mint, fakes.FakeCredentials(), ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if not request.path.startswith("/internal/chatbots/"):
            async with (
                ClientSession() as session,
                session.request(
                    request.method,
                    self.mint.auth_url + request.path_qs,
                    headers=request.headers,
                    data=await request.read(),
                ) as found,
            ):
                return web.Response(body=await found.read(), status=found.status, content_type=found.content_type)
        if self.credentials.away:
            return web.json_response({"code": "upstream_unavailable"}, status=503)
        chatbot_id = UUID(request.path.split("/")[3])
        if request.method == "DELETE":
            await self.credentials.end(1, chatbot_id)
            return web.Response(status=204)
        body = await request.json()
        asked_by = (body.get("made_by_type", body.get("by_type")), UUID(body.get("made_by", body.get("by"))))
        by = Caller(TenantId(1), *asked_by)
        assert by.subject_type == "user"
        assert datetime.fromisoformat(body["valid_until"]) - datetime.now(UTC) < timedelta(minutes=1)
        issued = await (
            self.credentials.rotate(1, chatbot_id, timedelta(seconds=body["overlap_seconds"]), by)
            if request.method == "POST"
            else self.credentials.put(1, chatbot_id, body["origins"], by)
        )
        return web.Response(text=issued.model_dump_json(), content_type="application/json")


@pytest_asyncio.fixture
async def auth(token_mint: Any) -> AsyncIterator[AuthServer]:
    auth = AuthServer(token_mint)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", auth.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        auth.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield auth
    finally:
        await runner.cleanup()


@pytest.fixture
def stage_settings(auth: AuthServer) -> dict[str, str]:
    return {"AUTH_URL": auth.url}


async def test_chatbots_over_http(stage: Any, auth: AuthServer) -> None:
    http, mint = (await stage.start()).http, stage.mint
    admin, member = (mint.headers(tenant_id=1, role=role, claims={"sid": str(uuid7())}) for role in ("admin", "member"))
    other = mint.headers(tenant_id=2, role="owner")
    body = {"name": "Shop", "greeting": "Hi", "origins": ["https://Shop.example/"], "system_prompt": "Sell shoes."}
    once = {**admin, "Idempotency-Key": "one"}

    made = await http.post("/v1/chatbots", json=body, headers=once)
    assert made.status_code == 201 and made.headers["cache-control"] == "no-store", made.text
    shop, secret = made.json(), made.json()["secret_key"]
    again = await http.post("/v1/chatbots", json=body, headers=once)
    assert again.json() == shop and again.headers["idempotent-replayed"] == "true"
    assert (shop["published"], shop["draft"]["greeting"], shop["origins"]) == (None, "Hi", ["https://shop.example"])
    path = f"/v1/chatbots/{shop['id']}"

    refused = {"members cannot": (member, 403), "others find nothing": (other, 404)}
    for headers, status in refused.values():
        for method, place, content in (
            ("PATCH", path, {"greeting": "x"}),
            ("DELETE", path, None),
            ("POST", f"{path}/publish", None),
            ("POST", f"{path}/unpublish", None),
            ("POST", f"{path}/rotate_key", None),
            ("GET", f"{path}/versions", None),
            ("GET", f"{path}/versions/draft", None),
            ("GET", f"{path}/versions/1/changes", None),
            ("POST", f"{path}/versions/1/restore", None),
        ):
            answer = await http.request(method, place, json=content, headers=headers)
            assert answer.status_code == status, (method, place, answer.text)
    assert (await http.get(path, headers=member)).status_code == 404  # nothing is published
    assert (await http.get("/v1/chatbots", headers=member)).json()["items"] == []

    assert (await http.post(f"{path}/publish", headers=admin)).json()["version"] == 1
    assert (await http.post(f"{path}/publish", headers=admin)).json()["code"] == "nothing_to_publish"
    changed = await http.patch(path, json={"greeting": None, "top_k": 3, "revision": 1}, headers=admin)
    assert changed.json()["has_changes"] and changed.json()["revision"] == 2 and changed.json()["name"] == "Shop"
    stale = await http.patch(path, json={"greeting": "Ho", "revision": 1}, headers=admin)
    assert (stale.status_code, stale.json()["code"], stale.json()["revision"]) == (409, "chatbot_changed", 2)
    assert (await http.post(f"{path}/publish", headers=admin)).json()["version"] == 2
    compared = (await http.get(f"{path}/versions/2/changes", headers=admin)).json()
    assert compared == {
        "from_version": 1,
        "to_version": 2,
        "changes": [
            {"field": "top_k", "before": None, "after": 3},
            {"field": "greeting", "before": "Hi", "after": None},
        ],
    }
    restored = await http.post(f"{path}/versions/1/restore", headers=admin)
    assert (restored.json()["version"], restored.json()["restored_from"]) == (3, 1)
    listed = (await http.get(f"{path}/versions", params={"limit": 2}, headers=admin)).json()
    assert [each["version"] for each in listed["items"]] == [3, 2] and listed["next_cursor"]

    (shown,) = (await http.get("/v1/chatbots", params={"q": "SHOP"}, headers=member)).json()["items"]
    assert shown["published"]["greeting"] == "Hi" and "Sell shoes" not in str(shown) and shown["origins"] is None
    assert "Sell shoes" not in (await http.get(path, headers=member)).text
    rotated = await http.post(f"{path}/rotate_key", json={"overlap_seconds": 60}, headers=admin)
    assert rotated.status_code == 201 and rotated.json()["secret_key"] not in (None, secret)
    old = mint.headers(tenant_id=1, role="admin", claims={"sid": str(UUID(int=1))})
    refused_key = await http.post(f"{path}/rotate_key", headers=old)
    assert (refused_key.status_code, refused_key.json()["code"]) == (403, "recent_sign_in_required")
    withheld = (await http.post("/v1/chatbots", json=body, headers=old)).json()
    assert (withheld["secret_key"], withheld["secret_key_withheld"]) == (None, "recent_sign_in_required")
    assert (
        shop["secret_key_withheld"],
        (await http.delete(f"/v1/chatbots/{withheld['id']}", headers=old)).content,
    ) == (
        None,
        b"",
    )

    whole = (await http.get(path, headers=admin)).text + (await http.get("/v1/chatbots", headers=admin)).text
    assert secret not in whole and "Sell shoes" in whole
    async with stage.database.connect() as administrator:
        for row in await administrator.fetch(ROWS):
            assert secret not in row["row"] and secret.encode().hex() not in row["row"]

    assert (await http.delete(path, headers=other)).status_code == 404
    assert (await http.delete(path, headers=admin)).status_code == 204
    assert (await http.get(path, headers=admin)).json()["code"] == "chatbot_not_found"
    assert not auth.credentials.secrets
    another = await http.post("/v1/chatbots", json=body, headers=once)
    assert another.status_code == 201 and another.json()["id"] != shop["id"], "its answer is gone with it"


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": " "},
        {"temperature": 2.1},
        {"temperature": True},
        {"top_k": 51},
        {"language": "tlh"},
        {"colours": {"accent": "red"}},
        {"origins": ["https://shop.example/path"]},
        {"suggested_questions": ["?"] * 11},
        {"system_prompt": "x" * 8001},
        {"greeting": "\x00"},
        {"answer_policy": {"refused_subjects": ["\u202e"]}},
        {"tokens_per_month": 0},
        {"live_version": 3},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NewChatbotBody.model_validate({"name": "Shop", **wrong})
