"""OpenAI's official Python client against the product: models, chat completions, responses, typed errors, the books."""

from __future__ import annotations

import openai
import pytest
from openai import AsyncOpenAI

from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, User, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle

_MODEL = "gpt-4o-mini"
_QUESTION = "How long is the warranty of the kettle?"
_MORE = "And of the kettle abroad?"


async def test_a_conversation_over_both_protocols_is_booked_as_the_provider_counted(
    product: Product, user: User, stub_provider: StubProviderHandle
) -> None:
    await user.ready(small_pdf(("The warranty of the kettle lasts 36 months. Abroad it lasts 12 months.",)))
    key = (await user.http.post("/v1/api-keys", json={"name": "program", "scopes": ["chats.use"]})).json()["secret"]
    before, counted_before = await product.booked(user.tenant_id), stub_provider.counts()
    token = user.http.headers["Authorization"].removeprefix("Bearer ")
    async with (
        AsyncOpenAI(base_url=f"{user.gateway_url}/v1", api_key=key, max_retries=0) as client,
        AsyncOpenAI(base_url=f"{user.gateway_url}/v1", api_key=token, max_retries=0) as reader,
    ):
        assert _MODEL in [model.id async for model in client.models.list()]

        completion = await client.chat.completions.create(
            model=_MODEL, messages=[{"role": "user", "content": _QUESTION}]
        )
        answer = completion.choices[0].message.content
        assert answer is not None and "36 months" in answer
        assert completion.model_extra is not None and completion.model_extra["docuchat"]["citations"][0]["page"] == 1
        stream = await client.chat.completions.create(
            model=_MODEL,
            messages=[
                {"role": "user", "content": _QUESTION},
                {"role": "assistant", "content": answer},
                {"role": "user", "content": _MORE},
            ],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
        assert chunks[-1].usage is not None and chunks[-1].usage.total_tokens > 0

        first = await client.responses.create(model=_MODEL, input=_QUESTION)
        (item,) = first.output
        assert item.type == "message" and item.content[0].type == "output_text"
        citation = item.content[0].annotations[0]
        assert citation.type == "file_citation" and citation.filename == "document.pdf"
        assert citation.model_extra is not None and "36 months" in citation.model_extra["quote"]
        file = await reader.files.retrieve(citation.file_id)
        assert (file.filename, file.status) == (citation.filename, "processed")
        async with client.responses.stream(model=_MODEL, input=_MORE, previous_response_id=first.id) as streamed:
            events = [event async for event in streamed]
            second = await streamed.get_final_response()
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert (await client.responses.retrieve(second.id)).output_text == second.output_text != ""

        with pytest.raises(openai.BadRequestError) as unsupported:
            await client.responses.create(model=_MODEL, input=_QUESTION, top_p=0.5)
        assert (unsupported.value.code, unsupported.value.param) == ("unsupported_parameter", "top_p")
        with pytest.raises(openai.NotFoundError) as unknown:
            await client.responses.create(model="no-such-model", input=_QUESTION)
        assert unknown.value.code == "model_not_found"
        with pytest.raises(openai.NotFoundError) as lost:
            await client.responses.create(model=_MODEL, input=_QUESTION, previous_response_id="resp_1")
        assert lost.value.code == "previous_response_not_found"
    async with AsyncOpenAI(base_url=f"{user.gateway_url}/v1", api_key=f"{key}x", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.responses.create(model=_MODEL, input=_QUESTION)

    counted = stub_provider.counts()

    async def each_call_is_booked_once() -> None:
        booked = await product.booked(user.tenant_id)
        assert booked["chats"] - before["chats"] == 4
        for name in ("prompt_tokens", "completion_tokens"):
            assert booked[name] - before[name] == getattr(counted, name) - getattr(counted_before, name)

    await eventually(each_call_is_booked_once)
