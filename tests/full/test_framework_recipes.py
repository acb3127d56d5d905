"""The recipes for LangChain and LlamaIndex, run as they are printed against the whole product."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.recipes import headings, printed

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

_PAGE = "frameworks"
_LOCK = Path(__file__).parent / "frameworks" / "requirements.lock"
_PATIENCE = 120
_SENTENCES = ("The warranty of the kettle lasts 36 months.", "Abroad the warranty of the kettle lasts 12 months.")
_EXPECTED = {
    "LangChain": [
        rf"\[1\] document.pdf, page 1: {_SENTENCES[0]}",
        rf"\[\d\] document.pdf, page 1: {_SENTENCES[1]}",
        rf"document, page 1: .*{_SENTENCES[0]}",
        r"1536 numbers",
    ],
    "LlamaIndex": [
        rf"\[1\] document.pdf, page 1: {_SENTENCES[0]}",
        rf"\[\d\] document.pdf, page 1: {_SENTENCES[1]}",
        r"1536 numbers",
    ],
}
"""What a reader sees, in this order."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the frameworks, and nothing of the product."""
    folder = tmp_path_factory.mktemp("frameworks") / "venv"
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    install = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", str(folder), "-r", str(_LOCK)]
    subprocess.run(install, check=True)
    return folder / "bin" / "python"


def test_each_recipe_is_run() -> None:
    assert headings(_PAGE) == list(_EXPECTED)


@pytest.mark.parametrize("framework", _EXPECTED)
async def test_the_printed_code_shows_answers_with_their_citations(
    product: Product, stub_provider: StubProviderHandle, python: Path, tmp_path: Path, framework: str
) -> None:
    code = tmp_path / "recipe.py"
    code.write_text("\n".join(printed(_PAGE, framework, "python")).replace("http://localhost:8000", product.url))
    async with product.user(await product.new_tenant()) as user:
        await user.ready(small_pdf((" ".join(_SENTENCES),)))
        wanted = {"name": "program", "scopes": ["chats.use", "documents.read"]}
        made = await user.http.post("/v1/api-keys", json=wanted)
        assert made.status_code == 201, made.text
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "NO_PROXY": "*",
            "DOCUCHAT_API_KEY": made.json()["secret"],
        }
        run = partial(subprocess.run, [str(python), str(code)], env=environment, capture_output=True, text=True)
        done = await asyncio.to_thread(partial(run, check=False, timeout=_PATIENCE))
        assert done.returncode == 0, done.stderr[-3000:]
        assert re.search(".*".join(_EXPECTED[framework]), done.stdout, re.DOTALL), done.stdout
        served = [call for call in stub_provider.calls() if call.endpoint == "chat"]

        async def each_answer_is_booked() -> None:
            booked = await product.booked(user.tenant_id)
            assert booked["chats"] == len(served) == 2
            assert booked["completion_tokens"] == sum(call.completion_tokens for call in served)

        await eventually(each_answer_is_booked)
