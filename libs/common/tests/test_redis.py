"""Redis is asked with bounds, under a name, and its troubles are ours."""

import asyncio
from datetime import timedelta

import pytest

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.redis import check_redis, erase_keys, open_redis, redis_errors_translated


async def test_a_client_names_itself_and_outlives_a_cut_connection(redis_url: str) -> None:
    async with open_redis(redis_url, client_name="docuchat-test") as client:
        assert await client.client_getname() in (b"docuchat-test", "docuchat-test")
        async with open_redis(redis_url, client_name="docuchat-other") as other:
            await other.client_kill_filter(_id=str(await client.client_id()))
        assert await client.ping()


async def test_a_redis_that_accepts_and_says_nothing_is_unavailable_in_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        open_redis(
            f"redis://127.0.0.1:{port}/0", client_name="docuchat-test", timeout=timedelta(milliseconds=100)
        ) as client,
    ):
        with pytest.raises(UpstreamUnavailable) as caught:
            async with asyncio.timeout(30):
                await check_redis(client)
    assert caught.value.retry_after == timedelta(seconds=2)


async def test_trouble_that_is_not_of_redis_passes_as_it_is() -> None:
    with pytest.raises(KeyError), redis_errors_translated():
        raise KeyError


async def test_keys_are_erased_by_their_parts(redis_url: str) -> None:
    kept = {"x:limit:address:60:2001:db8:7:1", "x:limit:user:60:8:user:ann:4", "x:limit:user:60:7", "y:devices:7:a"}
    gone = {"x:limit:user:60:7:user:ann:4", "x:limit:tenant:60:7:4", "x:devices:7:a"}
    async with open_redis(redis_url, client_name="docuchat-test") as client:
        await client.mset(dict.fromkeys(kept | gone, "1"))
        assert await erase_keys(client, "x:limit:*:*:7:*", "x:devices:7:*") == len(gone)
        assert {key.decode() for key in await client.keys()} == kept
