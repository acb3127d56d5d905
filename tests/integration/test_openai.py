"""OpenAI's own client against the whole product: with a tenant's key and a chatbot's, streamed and not, and refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, User, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule

PARROT, MOTOR = "The parrot of the shop is called Coco.", "The warranty of the motor lasts two years."
QUESTION: Any = {"role": "user", "content": "How long is the warranty of the motor?"}
NAME: Any = {"role": "user", "content": "What is the parrot called?"}


@asynccontextmanager
async def client_of(product: Product, key: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key=key, base_url=f"{product.url}/v1", max_retries=0, timeout=30) as client:
        yield client


async def key_of(user: User, *scopes: str) -> str:
    made = await user.http.post("/v1/api-keys", json={"name": "sdk", "scopes": list(scopes)})
    assert made.status_code == 201, made.text
    return str(made.json()["secret"])


async def chatbot_of(owner: User) -> dict[str, Any]:
    made = await owner.http.post("/v1/chatbots", json={"name": "Shop"})
    assert made.status_code == 201, made.text
    chatbot: dict[str, Any] = made.json()
    file = {"file": ("parrot.pdf", small_pdf((PARROT,)), "application/pdf")}
    uploaded = await owner.http.post(f"/v1/chatbots/{chatbot['id']}/documents", files=file)
    assert (await owner.settled(uploaded.json()["id"]))["status"] == "ready"
    assert (await owner.http.post(f"/v1/chatbots/{chatbot['id']}/publish")).status_code in (200, 201)
    return chatbot


async def test_a_tenants_key_asks_streams_and_is_booked_as_the_provider_counts(
    product: Product, stub_provider: StubProviderHandle
) -> None:
    async with product.user(await product.new_tenant()) as user:
        uploaded = await user.upload(small_pdf((MOTOR,)))
        assert (await user.settled(uploaded["id"]))["status"] == "ready"
        async with client_of(product, await key_of(user, "chats.use", "usage.read")) as client:
            models = [model.id async for model in client.models.list()]
            assert "gpt-4o-mini" in models
            assert (await client.models.retrieve("gpt-4o-mini")).owned_by

            before = stub_provider.counts()
            whole = await client.chat.completions.create(model="gpt-4o-mini", messages=[QUESTION])
            answer = whole.choices[0]
            assert "two years" in (answer.message.content or "") and answer.finish_reason == "stop"
            details = (whole.model_extra or {})["docuchat"]
            assert details["citations"][0]["document_id"] == uploaded["id"]

            stream = await client.chat.completions.create(
                model="gpt-4o-mini", messages=[QUESTION], stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in stream]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert text == answer.message.content
            assert chunks[-2].choices[0].finish_reason == "stop"
            assert (chunks[-2].model_extra or {})["docuchat"]["citations"] == details["citations"]
            after = stub_provider.counts()
            for got in (whole.usage, chunks[-1].usage):
                assert got is not None
                assert 2 * got.prompt_tokens == after.prompt_tokens - before.prompt_tokens
                assert 2 * got.completion_tokens == after.completion_tokens - before.completion_tokens

            async def booked_once_each() -> None:
                day = (await user.usage())["last_24h"]
                assert day["input_tokens"] == after.prompt_tokens - before.prompt_tokens
                assert day["output_tokens"] == after.completion_tokens - before.completion_tokens

            await eventually(booked_once_each)
        assert (await user.http.get("/v1/chats")).json()["items"] == [], "a key's answers are not stored unless it asks"
        async with client_of(product, user.token) as client:
            for more in ({"store": True}, {"docuchat": {"session_id": "s"}}):
                await client.chat.completions.create(model="gpt-4o-mini", messages=[QUESTION], extra_body=more)
        assert len((await user.http.get("/v1/chats")).json()["items"]) == 2


async def test_a_chatbots_key_asks_its_chatbot_and_nothing_else(product: Product) -> None:
    async with product.user(await product.new_tenant()) as owner:
        uploaded = await owner.upload(small_pdf((MOTOR,)))
        assert (await owner.settled(uploaded["id"]))["status"] == "ready"
        chatbot, other = await chatbot_of(owner), await chatbot_of(owner)
        async with client_of(product, chatbot["secret_key"]) as client:
            (model,) = [model async for model in client.models.list()]
            assert model.id == f"chatbot/{chatbot['id']}" and (model.model_extra or {})["name"] == "Shop"
            assert (await client.models.retrieve(model.id)).id == model.id
            for name in (model.id, chatbot["id"], chatbot["publishable_id"]):
                told = await client.chat.completions.create(model=name, messages=[NAME])
                assert "Coco" in (told.choices[0].message.content or "") and told.model == model.id
            told = await client.chat.completions.create(model=model.id, messages=[QUESTION])
            assert "two years" not in (told.choices[0].message.content or ""), "it reads what its version names"
            for name in (f"chatbot/{other['id']}", other["id"], "gpt-4o-mini", "gpt-4"):
                with pytest.raises(openai.NotFoundError) as refused:
                    await client.chat.completions.create(model=name, messages=[NAME])
                assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
        async with client_of(product, owner.token) as client:
            names = {model.id async for model in client.models.list()}
            assert {f"chatbot/{chatbot['id']}", f"chatbot/{other['id']}"} < names


async def test_each_kind_of_refusal_is_the_clients_own_error(
    product: Product, stub_provider: StubProviderHandle
) -> None:
    async def refusal(key: str, kind: type[openai.APIStatusError], **changes: Any) -> openai.APIStatusError:
        async with client_of(product, key) as client:
            with pytest.raises(kind) as refused:
                await client.chat.completions.create(**{"model": "gpt-4o-mini", "messages": [QUESTION]} | changes)
        assert refused.value.response.headers["content-type"] == "application/json"
        assert refused.value.request_id
        return refused.value

    async with product.user(await product.new_tenant()) as user:
        uploaded = await user.upload(small_pdf((MOTOR,)))
        assert (await user.settled(uploaded["id"]))["status"] == "ready"
        junk = await refusal("sk-junk", openai.AuthenticationError)
        assert junk.type == "authentication_error" and junk.code
        reader = await key_of(user, "documents.read")
        assert (await refusal(reader, openai.PermissionDeniedError)).code == "not_allowed"
        for changes, param in (
            ({"n": 2}, "n"),
            ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
            ({"extra_body": {"thinking": True}}, "thinking"),
        ):
            told = await refusal(user.token, openai.BadRequestError, **changes)
            assert (told.code, told.param, told.type) == ("unsupported_parameter", param, "invalid_request_error")
        assert (await refusal(user.token, openai.BadRequestError, temperature=9)).param == "temperature"
        assert (await refusal(user.token, openai.BadRequestError, messages=[])).param == "messages"
        assert (await refusal(user.token, openai.NotFoundError, model="no-such")).code == "model_not_found"
        long: Any = [{"role": "user", "content": "x" * 2_000_000}]
        assert (await refusal(user.token, openai.APIStatusError, messages=long)).status_code == 413
        stub_provider.control(Rule(status=500))
        assert (await refusal(user.token, openai.InternalServerError)).code == "provider_error"
        async with client_of(product, user.token) as client:
            stream = await client.chat.completions.create(model="gpt-4o-mini", messages=[QUESTION], stream=True)
            with pytest.raises(openai.APIError) as broken:
                _ = [chunk async for chunk in stream]
        assert broken.value.code == "provider_error"
        stub_provider.control(Rule())
        await product.set_quota(user.tenant_id, 1)
        spent = await refusal(user.token, openai.RateLimitError)
        assert (spent.code, spent.type) == ("quota_exceeded", "insufficient_quota")
        assert spent.response.headers["x-should-retry"] == "false" and spent.response.headers["retry-after"]
