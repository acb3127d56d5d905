"""`/v1/embeddings` as OpenAI's own client asks for it, and the books beside the provider's own."""

from __future__ import annotations

import openai
import pytest

from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product
from docuchat_testkit.provider_process import StubProviderHandle

MODEL = "text-embedding-3-small"


async def test_openais_client_embeds_as_often_as_the_plan_allows_and_each_call_is_one_entry(
    product: Product, stub_provider: StubProviderHandle
) -> None:
    async with product.user(await product.new_tenant()) as user:
        token = user.http.headers["Authorization"].removeprefix("Bearer ")
        async with openai.AsyncOpenAI(base_url=f"{product.url}/v1", api_key=token, max_retries=0) as client:
            assert MODEL in {model.id async for model in client.models.list()}
            before = stub_provider.counts().embedding_tokens
            made = await client.embeddings.create(model=MODEL, input=["When are salaries paid?", "Monthly."])
            assert [len(each.embedding) for each in made.data] == [1536, 1536]
            sent = stub_provider.counts().embedding_tokens - before
            assert made.usage.total_tokens == sent

            async def is_booked() -> None:
                assert (await product.booked(user.tenant_id))["embedding_tokens"] == sent

            await eventually(is_booked)
            with pytest.raises(openai.NotFoundError) as unknown:
                await client.embeddings.create(model="text-embedding-ada-002", input="x")
            assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")

            await product.set_quota(user.tenant_id, 2, unit="requests")  # of which one has been
            await client.embeddings.create(model=MODEL, input="The second of two.")

            async def is_used_up() -> None:
                with pytest.raises(openai.RateLimitError) as refused:
                    await client.embeddings.create(model=MODEL, input="One more.")
                assert refused.value.code == "quota_exceeded"

            await eventually(is_used_up)
            await product.set_quota(user.tenant_id, 0, unit="requests")
            with pytest.raises(openai.PermissionDeniedError) as none:
                await client.embeddings.create(model=MODEL, input="One more.")
            assert none.value.code == "not_in_plan"
