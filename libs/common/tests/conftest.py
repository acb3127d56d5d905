"""What the tests of metering share."""

from collections.abc import AsyncIterator

import pytest

from docuchat_common.db.ddl import booked_calls_ddl, inbox_ddl, outbox_ddl, provider_calls_ddl
from docuchat_common.metering import Metering
from docuchat_testkit.databases import ClonedDatabase

from .metered import SCHEMA, Books


@pytest.fixture
async def books(database: ClonedDatabase) -> AsyncIterator[Books]:
    roles = {"app_roles": ("docuchat_chat",), "system_roles": ("docuchat_chat_system",)}
    async with database.connect() as administrator:
        await administrator.execute(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION docuchat_owner")
    async with database.connect("docuchat_owner") as owner:
        await owner.execute(outbox_ddl(SCHEMA, **roles))
        await owner.execute(inbox_ddl(SCHEMA, roles=("docuchat_chat",), system_roles=("docuchat_chat_system",)))
        await owner.execute(provider_calls_ddl(SCHEMA, **roles))
        await owner.execute(booked_calls_ddl(SCHEMA, system_roles=roles["system_roles"]))
    async with database.open("chat") as opened:
        yield Books(opened, database)


@pytest.fixture
def metering(books: Books) -> Metering:
    return Metering(books)
