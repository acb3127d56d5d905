"""Archives of the tenant and of people: asked for, waited for and fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from docuchat_client import AsyncDocuChat, DocuChatError

from .conftest import NOW, USER, Command, Service, problem

EXPORT = str(UUID(int=20))
QUEUED: dict[str, Any] = {"id": EXPORT, "user_id": None, "requested_by": EXPORT, "state": "queued", "created_at": NOW}
PATH = f"/v1/exports/{EXPORT}"


@pytest.fixture
def made(service: Service) -> Service:
    service.on("POST", "/v1/tenant/export", JSONResponse(QUEUED, 202))
    service.on("GET", PATH, JSONResponse(QUEUED | {"state": "ready", "size_bytes": 3}))
    service.on("GET", f"{PATH}/archive", Response(b"PK!", media_type="application/zip"))
    return service


def answer(service: Service, method: str, path: str, response: Response) -> None:
    """Answer so from now on, in place of what was answered before."""
    service.answers.pop((method, path), None)
    service.on(method, path, response)


async def test_an_archive_of_the_tenant_is_asked_for_waited_for_and_fetched(
    made: Service, docuchat: Command, tmp_path: Path
) -> None:
    target = tmp_path / "all.zip"
    done = await docuchat("tenant", "export", "--output", str(target))
    assert (done.code, target.read_bytes()) == (0, b"PK!"), done.err
    assert str(target) in done.out and EXPORT in done.err
    assert (await docuchat("tenant", "export", "--no-wait")).out == f"{EXPORT}\n"
    asked = made.count("POST", "/v1/tenant/export")
    assert (await docuchat("tenant", "export", "--id", EXPORT, "-o", "-")).out == "PK!"
    assert made.count("POST", "/v1/tenant/export") == asked == 2


async def test_one_that_is_being_made_is_followed_and_one_that_failed_is_said_so(
    made: Service, docuchat: Command, tmp_path: Path
) -> None:
    running = problem(409, "export_running", "An archive of this is being made.", export_id=EXPORT)
    answer(made, "POST", "/v1/tenant/export", running)
    assert (await docuchat("tenant", "export", "-o", str(tmp_path / "all.zip"))).code == 0
    answer(made, "GET", PATH, JSONResponse(QUEUED | {"state": "failed"}))
    failed = await docuchat("tenant", "export", "-o", str(tmp_path / "none.zip"))
    assert failed.code == 1 and "[export_failed]" in failed.err
    assert (tmp_path / "all.zip").read_bytes() == b"PK!"
    assert failed.out == ""


async def test_without_a_name_one_exports_oneself(made: Service, docuchat: Command) -> None:
    made.on("GET", "/v1/users/me", JSONResponse(USER))
    made.on("POST", f"/v1/users/{USER['id']}/export", JSONResponse(QUEUED, 202))
    assert (await docuchat("users", "export", "--no-wait")).out == f"{EXPORT}\n"


async def test_what_is_not_ready_is_asked_for_again(service: Service, client: AsyncDocuChat) -> None:
    states = ["queued", "running", "ready"]

    async def state(_: Request) -> Response:
        return JSONResponse(QUEUED | {"state": states.pop(0)})

    service.on("GET", PATH, state)
    assert (await client.wait_for_export(EXPORT, poll_seconds=0)).state == "ready"
    assert states == []
    answer(service, "GET", PATH, JSONResponse(QUEUED | {"state": "failed"}))
    with pytest.raises(DocuChatError, match="could not be made"):
        await client.wait_for_export(EXPORT)
