"""A real Chromium, spoken to over the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from websockets.asyncio.client import ClientConnection, connect

_FLAGS = ("--headless=new", "--no-sandbox", "--disable-background-networking", "--disable-component-update")
_LISTENING = re.compile(r"DevTools listening on ws://(127\.0\.0\.1:\d+)/")
_PATIENCE = 60


@dataclass
class Page:
    """A page, and what it is told to do."""

    _connection: ClientConnection
    _numbers: Any = field(default_factory=itertools.count)

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers to a command of the protocol."""
        number = next(self._numbers)
        await self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(await asyncio.wait_for(self._connection.recv(), _PATIENCE))
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                found: dict[str, Any] = answer["result"]
                return found

    async def go(self, url: str) -> None:
        """Open an address, and wait until it is there."""
        await self.send("Page.enable")
        went = await self.send("Page.navigate", url=url)
        assert "errorText" not in went, went
        while json.loads(await asyncio.wait_for(self._connection.recv(), _PATIENCE)).get("method") != (
            "Page.loadEventFired"
        ):
            pass

    async def run(self, function: str, *arguments: Any) -> Any:
        """What an async JavaScript function of the page answers; its failure is one of the test."""
        call = f"({function})(...{json.dumps(arguments)})"
        answer = await self.send(
            "Runtime.evaluate", expression=call, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def add_authenticator(self) -> str:
        """A virtual authenticator with a finger on it, as a laptop has one; its id."""
        await self.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        made = await self.send("WebAuthn.addVirtualAuthenticator", options=options)
        return str(made["authenticatorId"])


def find_chromium() -> str:
    """Where it is; installed where that is possible."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", "chromium"], check=False)
        found = shutil.which("chromium")
    assert found, "this test needs Chromium: apt-get install chromium"
    return found


@asynccontextmanager
async def chromium_page(folder: Path) -> AsyncIterator[Page]:
    """A page of a browser of its own, whose profile is `folder`."""
    log = folder / "chromium.log"
    arguments = [*_FLAGS, "--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}", "about:blank"]
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
            [find_chromium(), *arguments], stdout=out, stderr=subprocess.STDOUT
        )
    try:
        async with connect(await _page_url(process, log), proxy=None, max_size=None) as connection:
            yield Page(connection)
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 20)
        finally:
            process.kill()
            process.wait()


async def _page_url(process: subprocess.Popen[bytes], log: Path) -> str:
    async with asyncio.timeout(_PATIENCE):
        while not (found := _LISTENING.search(said := await asyncio.to_thread(log.read_text, errors="replace"))):
            assert process.poll() is None, said
            await asyncio.sleep(0.1)
        async with httpx2.AsyncClient(trust_env=False) as http:
            while True:
                targets = (await http.get(f"http://{found[1]}/json/list")).json()
                pages = [target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"]
                if pages:
                    return str(pages[0])
                await asyncio.sleep(0.1)
