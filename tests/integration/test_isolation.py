"""Every operation of the public API with another tenant's ids, found in the OpenAPI document itself (S1).

A new route is covered as soon as it is in the document; one whose path needs an id that nobody here has fails the test.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import filterfalse
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from docuchat_testkit.identity import PAGE
from docuchat_testkit.product import Product, User, answer_text, frames_until_end, small_pdf

_SECRET = "ZIRCONFLUTE"
_METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
# What belongs to a tenant's users together.
_SHARED_IN_A_TENANT = {"document_id", "document_ids", "collection_id", "chatbot_id", "publishable_id", "version"}


@dataclass(frozen=True)
class Victim:
    """A user with one of everything, each holding a secret word."""

    user: User
    content: bytes
    ids: dict[str, Any] = field(default_factory=dict)

    def traces(self) -> list[str]:
        """What no answer to somebody else may hold."""
        values = [value for value in self.ids.values() if isinstance(value, str)]
        return [_SECRET, self.user.email, self.user.id, self.user.refresh_token, *values]


def code_of(refused: httpx2.Response) -> str:
    """The code of a refusal, at some paths in the words of others."""
    told = refused.json()
    return str(told.get("error", told)["code"])


async def endow(product: Product, user: User) -> Victim:
    content = small_pdf((f"The word of the vault is {_SECRET} and nobody else knows it.",))
    document = await user.ready(content, title=f"Vault {_SECRET}")
    session = str(uuid4())  # of a chat; a sign-in is named by an id, too
    frames = await user.ask("What is the word of the vault?", session_id=session)
    assert _SECRET in answer_text(frames)
    start = frames[0]
    response_id = f"resp_{UUID(start['turn_id']).hex}{UUID(start['message_id']).hex}"
    ids = {
        "document_id": document["id"],
        "collection_id": document["collection_id"],
        "chat_id": start["chat_id"],
        "turn_id": start["turn_id"],
        "response_id": response_id,
        "previous_response_id": response_id,
        "message_id": start["message_id"],
        "parent_id": start["message_id"],
        "head_id": start["message_id"],
        "session_id": session,
        "chunk_id": (await user.search("word of the vault"))[0]["chunk_id"],
        "user_id": user.id,
        "member_id": user.id,
        "refresh_token": user.refresh_token,
    }
    key = await user.http.post("/v1/api-keys", json={"name": f"Key {_SECRET}", "scopes": ["documents.read"]})
    assert key.status_code == 201, key.text
    ids["key_id"] = key.json()["id"]
    chatbot = await user.http.post("/v1/chatbots", json={"name": "Bot", "system_prompt": _SECRET})
    assert chatbot.status_code == 201, chatbot.text
    ids |= {
        "model_id": f"chatbot/{chatbot.json()['id']}",
        "chatbot_id": chatbot.json()["id"],
        "publishable_id": chatbot.json()["publishable_id"],
        "version": 1,
    }
    published = await user.http.post(f"/v1/chatbots/{chatbot.json()['id']}/publish")
    assert published.status_code == 201, published.text
    file = {"file": ("note.pdf", small_pdf((f"The note says {_SECRET}, too.",)), "application/pdf")}
    attached = await user.http.post("/v1/attachments", files=file)
    assert attached.status_code == 202, attached.text
    ids["attachment"] = attached.json()["id"]
    async with product.database() as administrator:
        group = "INSERT INTO auth.groups VALUES ($1, gen_random_uuid(), $2, now()) RETURNING id"
        ids["group_id"] = str(await administrator.fetchval(group, user.tenant_id, f"Group {uuid4()}"))
        invitation = (
            "INSERT INTO auth.invitations VALUES ($1, gen_random_uuid(), $2, 'member', sha256($3), gen_random_uuid(), "
            "now(), now() + interval '1 day') RETURNING id"
        )
        invited = f"{uuid4().hex}@example.com"
        ids["invitation_id"] = str(await administrator.fetchval(invitation, user.tenant_id, invited, invited.encode()))
        provider = (
            "INSERT INTO auth.identity_providers VALUES ($1, gen_random_uuid(), $2, 'https://id.example', $2, NULL, "
            "'{openid}', true, false, 'member', '{}', 'groups', '[]', false, now()) RETURNING id"
        )
        ids["provider_id"] = str(await administrator.fetchval(provider, user.tenant_id, f"Provider {_SECRET}"))
        model_provider = (  # under the same id, so that the paths of both are walked
            "INSERT INTO chat.providers (tenant_id, id, name, base_url, auth) "
            "VALUES ($1, $2, $3, 'https://models.example/v1', 'bearer')"
        )
        await administrator.execute(model_provider, user.tenant_id, ids["provider_id"], f"provider-{_SECRET}")
        passkey = (
            "INSERT INTO auth.passkeys VALUES ($1, gen_random_uuid(), $2, $3, sha256(uuidv7()::text::bytea), 'key', 0, "
            "false, now()) RETURNING id"
        )
        ids["passkey_id"] = str(await administrator.fetchval(passkey, user.tenant_id, user.id, f"Passkey {_SECRET}"))
    ids["tenant"] = user.tenant_id
    domain = await user.http.post("/v1/domains", json={"domain": f"{uuid4().hex}.example"})
    assert domain.status_code == 201, domain.text
    ids["domain_id"], ids["domain_name"] = domain.json()["id"], domain.json()["domain"]
    export = await user.http.post(f"/v1/users/{user.id}/export")
    assert export.status_code == 202, export.text
    ids["export_id"] = export.json()["id"]
    shared = await user.http.post(f"/v1/chats/{start['chat_id']}/share")
    assert shared.status_code == 201, shared.text
    ids["share_id"], ids["token"] = shared.json()["id"], shared.json()["token"]
    renamed = await user.http.patch(f"/v1/chats/{start['chat_id']}", json={"title": f"Chat {_SECRET}"})
    assert renamed.status_code == 200
    return Victim(user, content, ids)


@dataclass(frozen=True)
class Operation:
    """One operation of the document, and how to fill a request for it with somebody's ids."""

    method: str
    path: str
    described: dict[str, Any]
    components: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"

    def parameters(self, place: str) -> list[str]:
        return [parameter["name"] for parameter in self.described.get("parameters", []) if parameter["in"] == place]

    def names_of_victim(self, ids: dict[str, Any]) -> set[str]:
        """Which ids the request carries."""
        names = {*self.parameters("path"), *self.parameters("query"), *self.properties()}
        return {name for name in names if name in ids or name.removesuffix("s") in ids}

    def content_type(self) -> str | None:
        return next(iter(self.described.get("requestBody", {}).get("content", {})), None)

    def properties(self) -> dict[str, Any]:
        kind = self.content_type()
        if kind is None:
            return {}
        schema = self.described["requestBody"]["content"][kind]["schema"]
        while "$ref" in schema:
            schema = self.components[schema["$ref"].rpartition("/")[2]]
        return dict(schema.get("properties", {}))

    def request(self, victim: Victim) -> dict[str, Any]:
        """Arguments for the client; fails for a path parameter that nobody knows how to fill."""
        path = self.path
        for name in self.parameters("path"):
            assert name in victim.ids, f"{self}: say in `endow` what another tenant's {name} is"
            path = path.replace("{" + name + "}", str(victim.ids[name]))
        assert "{" not in path, f"{self}: a path parameter is not described"
        request: dict[str, Any] = {"method": self.method.upper(), "url": path, "params": {}}
        for name in self.parameters("query"):
            if name in victim.ids:
                request["params"][name] = victim.ids[name]
            elif name == "q":
                request["params"]["q"] = _SECRET
            elif name == "seconds":  # a stream that would go on
                request["params"]["seconds"] = 1
        match self.content_type():
            case "application/json":
                request["json"] = {
                    name: value
                    for name, described in self.properties().items()
                    if (value := self._value(name, described, victim)) is not None
                }
            case "multipart/form-data":
                request["files"] = {"file": ("vault.pdf", victim.content, "application/pdf")}
                request["data"] = {name: str(victim.ids[name]) for name in self.properties() if name in victim.ids}
            case None:
                pass
            case other:
                raise AssertionError(f"{self}: say how to fill a body of {other}")
        return request

    def _value(self, name: str, described: dict[str, Any], victim: Victim) -> Any:
        if name in victim.ids:
            return victim.ids[name]
        if name.removesuffix("s") in victim.ids:
            return [victim.ids[name.removesuffix("s")]]
        given = {
            "email": victim.user.email,
            "userName": victim.user.email,
            "code": "000000",
            "base_url": "https://models.example/v1",
        }
        if name == "Operations":  # of SCIM's PATCH
            return [{"op": "replace", "path": "externalId", "value": "ours"}]
        kinds = [
            self.components.get(kind.get("$ref", "").rpartition("/")[2], kind)
            for kind in described.get("anyOf", [described])
        ]
        is_optional = "default" in described or {"type": "null"} in kinds
        if name in given or (is_optional and self.method != "patch"):  # a change of nothing is none
            return given.get(name)
        kind = next((kind for kind in kinds if kind.get("type") != "null"), None)
        if kind is None:  # a field that takes nothing but its default
            return None
        text = kind.get("enum", [f"tell-{_SECRET.lower()[:4]}"])[0]
        return {"string": text, "integer": 1, "boolean": False, "object": {}}.get(kind.get("type", "string"))


async def operations_of(product: Product) -> list[Operation]:
    async with product.client() as http:
        document = (await http.get("/openapi.json")).json()
    components = document.get("components", {}).get("schemas", {})

    def listed() -> Iterator[Operation]:
        for path, item in document["paths"].items():
            for method in _METHODS:
                if method in item:
                    operation = dict(item[method])
                    operation["parameters"] = [*item.get("parameters", []), *operation.get("parameters", [])]
                    yield Operation(method, path, operation, components)

    found = list(listed())
    assert len(found) >= 28
    return found


def is_operators(operation: Operation) -> bool:
    """Whether it is for operators, who belong to no tenant."""
    return operation.path.startswith("/v1/operator/")


async def send(http: httpx2.AsyncClient, request: dict[str, Any], **headers: str) -> httpx2.Response:
    return await http.request(**request, headers=headers)


@pytest.fixture
async def victim(product: Product, user: User) -> Victim:
    return await endow(product, user)


@pytest.fixture
async def stranger(product: Product) -> AsyncIterator[User]:
    """Somebody of another tenant, who has a document of their own."""
    async with AsyncExitStack() as stack:
        user = await stack.enter_async_context(product.user(await product.new_tenant()))
        await user.ready(small_pdf(("The picnic is on Sunday.",)))
        yield user


async def state_of(victim: Victim) -> dict[str, Any]:
    """Everything that the victim sees of their own."""
    http, ids = victim.user.http, victim.ids
    listed = {
        "file": (await http.get(f"/v1/files/{ids['document_id']}")).json(),
        "chat": (await http.get(f"/v1/chats/{ids['chat_id']}")).json(),
        "chats": (await http.get("/v1/chats")).json(),
        "messages": (await http.get("/v1/messages", params={"chat_id": ids["chat_id"]})).json(),
        "files": (await http.get("/v1/files")).json(),
        "chunks": [result["chunk_id"] for result in await victim.user.search("word of the vault")],
        # without embeddings: the search above is the victim's own
        "used": {name: (await victim.user.usage())["last_24h"][name] for name in ("input_tokens", "output_tokens")},
    }
    assert listed["chat"]["title"] == f"Chat {_SECRET}"
    return listed


async def test_no_operation_gives_or_takes_anything_of_another_tenant(
    product: Product, victim: Victim, stranger: User
) -> None:
    before = await state_of(victim)
    tried = []
    for operation in filterfalse(is_operators, await operations_of(product)):
        request = operation.request(victim)
        own = await send(stranger.http, request)
        assert own.status_code < 500, f"{operation}: {own.status_code} {own.text}"
        for trace in victim.traces():
            sent = json.dumps([request["url"], request.get("params"), request.get("json"), request.get("data")])
            assert trace in sent or trace not in own.text, f"{operation} gives away {trace}: {own.text}"
        is_public = operation.described["x-permission"] == "public"
        if operation.parameters("path") and not is_public:
            # a public question takes a chatbot's key or a visitor's token, which no user has
            refused = 403 if operation.described["x-permission"] == "chatbots.ask" else 404
            assert own.status_code == refused, f"{operation}: {own.status_code} {own.text}"
        tried.append(str(operation))
        if "refresh_token" in operation.names_of_victim(victim.ids):
            continue  # in its own tenant, who holds that secret is its owner
        # the same with the victim's tenant in the header: the token's tenant has to agree
        posing = await send(stranger.http, request, **{"X-Tenant-ID": str(victim.user.tenant_id)})
        if not is_public:
            assert (posing.status_code, code_of(posing)) == (403, "tenant_mismatch"), f"{operation}: {posing.text}"
        else:
            assert _SECRET not in posing.text
    assert len(tried) == len(set(tried))
    assert await state_of(victim) == before
    refreshed = await victim.user.http.post("/v1/auth/refresh", json={"refresh_token": victim.user.refresh_token})
    assert refreshed.status_code == 200, "the stranger could end the victim's session"


async def test_no_operation_on_chats_reaches_those_of_another_user_of_the_tenant(
    product: Product, victim: Victim
) -> None:
    async with product.user(victim.user.tenant_id) as colleague:
        before = await state_of(victim)
        for operation in filterfalse(is_operators, await operations_of(product)):
            private = operation.names_of_victim(victim.ids) - _SHARED_IN_A_TENANT
            if not private or "refresh_token" in private:
                continue
            request = operation.request(victim)
            response = await send(colleague.http, request)
            if {"chat_id", "turn_id"} & private:
                expected = 403 if operation.described["x-permission"] == "chatbots.manage" else 404
                assert response.status_code == expected, f"{operation}: {response.status_code} {response.text}"
            assert victim.ids["turn_id"] not in response.text.replace(request["url"], ""), operation
        listed = (await colleague.http.get("/v1/chats", params={"q": _SECRET})).json()
        assert listed["items"] == []
        after = await state_of(victim)
        before.pop("used")
        after.pop("used")
        assert after == before
        # the tenant's documents are for all its users, its numbers too; a user's own usage is their own
        assert (await colleague.document(victim.ids["document_id"]))["status"] == "ready"
        assert (await colleague.usage())["me"]["last_24h"]["output_tokens"] == 0


async def test_a_chatbots_key_and_visitor_reach_nothing_but_that_chatbot(
    product: Product, victim: Victim, stranger: User
) -> None:
    open_to_visitors = {"chatbots.ask": 404, "chats.follow": 404}
    open_to_keys = open_to_visitors | {"models.use": 404, "mcp.use": 404}
    operations = [each for each in await operations_of(product) if not is_operators(each)]
    for owner in (victim.user, stranger):
        made = await owner.http.post("/v1/chatbots", json={"name": "Another", "origins": [PAGE]})
        assert made.status_code == 201, made.text
        page = {"Origin": PAGE}
        async with product.client() as nobody:
            visitors = f"/v1/public/chatbots/{made.json()['publishable_id']}/visitors"
            visitor = (await nobody.post(visitors, headers=page)).json()["visitor_token"]
            for credential in ({"X-API-Key": made.json()["secret_key"]}, page | {"Authorization": f"Bearer {visitor}"}):
                open_to_them = open_to_keys if "X-API-Key" in credential else open_to_visitors
                for operation in operations:
                    permission = operation.described["x-permission"]
                    if permission == "public" or (permission in open_to_them and not operation.parameters("path")):
                        continue  # what names nothing of the victim's gives one's own
                    refused = await send(nobody, operation.request(victim), **credential)
                    assert refused.status_code == open_to_them.get(permission, 403), f"{operation}: {refused.text}"
                    assert _SECRET not in refused.text
            copied = {"Authorization": f"Bearer {visitor}", "Origin": f"{PAGE}.evil.example"}
            for path in (f"/v1/messages/{victim.ids['message_id']}/feedback",):
                elsewhere = await nobody.post(path, json={"rating": "up"}, headers=copied)
                assert (elsewhere.status_code, elsewhere.json()["code"]) == (403, "origin_not_allowed")


async def test_no_operation_of_operators_is_open_to_a_user_or_a_stranger(product: Product, stranger: User) -> None:
    operations = [each for each in await operations_of(product) if is_operators(each)]
    assert len(operations) >= 10
    async with product.client() as nobody:
        for operation in operations:
            path, method = re.sub(r"\{\w+\}", "1", operation.path), operation.method.upper()
            if path == "/v1/operator/token":
                refused = await stranger.http.request(method, path, json={"key": f"dco_{stranger.id}_guessed"})
                assert refused.status_code in {400, 401, 422}, refused.text
                continue
            posing = await stranger.http.request(method, path, json={})
            assert (posing.status_code, posing.json()["code"]) == (403, "operator_required"), operation
            assert (await nobody.request(method, path, json={})).status_code == 401, operation


async def test_the_socket_gives_nothing_of_others(product: Product, victim: Victim, stranger: User) -> None:
    ids = victim.ids
    async with product.user(victim.user.tenant_id) as colleague:
        for other in (stranger, colleague):
            async with other.socket() as socket:
                for frame in (
                    {"message": "What was said?", "chat_id": ids["chat_id"]},
                    {"resume": ids["turn_id"], "after": 0},
                    {"stop": ids["turn_id"]},
                ):
                    await socket.send(json.dumps(frame))
                    (refused,) = await frames_until_end(socket)
                    assert (refused["type"], refused["code"]) in {
                        ("error", "chat_not_found"),
                        ("error", "turn_not_found"),
                    }, refused
            frames = await other.ask("Hello?", session_id=ids["session_id"])
            assert frames[0]["chat_id"] != ids["chat_id"]

    narrowed = await stranger.ask("What is the word of the vault?", document_ids=[ids["document_id"]])
    everywhere = await stranger.ask(f"What is the word of the vault, {_SECRET}?")
    for frames in (narrowed, everywhere):
        sources = [source for frame in frames for source in frame.get("sources", [])]
        assert ids["document_id"] not in [source["document_id"] for source in sources]
        assert "nobody else knows it" not in answer_text(frames)
    assert [source for frame in narrowed for source in frame.get("sources", [])] == []
    assert _SECRET not in json.dumps(narrowed)


async def test_the_same_file_in_two_tenants_is_two_documents(product: Product, victim: Victim, stranger: User) -> None:
    own = await stranger.upload(victim.content)
    assert own["id"] != victim.ids["document_id"]
    assert own["collection_id"] != victim.ids["collection_id"]
    await stranger.settled(own["id"])
    assert (await stranger.http.delete(f"/v1/files/{own['id']}")).status_code == 200
    kept = await victim.user.http.get(f"/v1/files/{victim.ids['document_id']}/content")
    assert kept.content == victim.content


async def test_an_id_that_never_was_looks_like_one_of_another_tenant(victim: Victim, stranger: User) -> None:
    for kind, name in (("files", "document_id"), ("chats", "chat_id")):
        foreign = (await stranger.http.get(f"/v1/{kind}/{victim.ids[name]}")).json()
        unknown = (await stranger.http.get(f"/v1/{kind}/{uuid.uuid4()}")).json()
        vary = {"instance", "request_id", "trace_id"}
        assert {k: v for k, v in foreign.items() if k not in vary} == {
            k: v for k, v in unknown.items() if k not in vary
        }
