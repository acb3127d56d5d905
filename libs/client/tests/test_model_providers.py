"""`docuchat model-providers`, and the same for operators: what is asked of the service, and what is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.responses import JSONResponse

from .conftest import CHAT, Command, Service
from .documented import Documented

ADDED = ("add", "text", "https://models.example/v1", "--model", "small:3b", "--price", "small:3b=0.2,0.4")


@pytest.fixture
def documented(service: Service) -> Documented:
    return Documented.of(service)


@pytest.fixture(params=["model-providers", "admin model-providers"])
def who(request: pytest.FixtureRequest, docuchat: Command, service: Service) -> list[str]:
    """The words before the command; operators have their credential, the others a sign-in."""
    docuchat.environment |= {"DOCUCHAT_OPERATOR_KEY": "key", "DOCUCHAT_SERVER": service.url}
    return str(request.param).split()


def of(documented: Documented, method: str) -> list[Any]:
    return [body for made, path, body in documented.asked if made == method and "providers" in path]


async def test_a_provider_is_added_changed_checked_and_removed(
    documented: Documented, docuchat: Command, who: list[str]
) -> None:
    added = await docuchat(*who, *ADDED, "--ask-key", "--query", "api-version=1", text="secret\n")
    assert added.code == 0 and "text: input 1, output 1, embedding 1 USD per million tokens" in added.out, added.err
    assert "secret" not in added.out + added.err
    changed = await docuchat(*who, "change", "TEXT", "--price", "text=0.5,1", "--disable")
    assert changed.code == 0, changed.err
    checked = await docuchat(*who, "check", "text")
    assert (checked.code, checked.out) == (0, "text: text\n"), checked.err
    assert (await docuchat(*who, "remove", "text")).code == 1  # nobody agreed
    assert (await docuchat(*who, "remove", "text", "--yes")).out == "text is removed.\n"
    listed = await docuchat(*who, "list")
    assert listed.out == f"text\ttenant\tok\t1\t{CHAT}\n", listed.err
    for command in (["list"], ["show", "text"], ["check", "text"]):
        done = await docuchat(*who, *command, "--json")
        assert done.code == 0 and json.loads(done.out), done.err

    model = {"name": "small:3b", "input": "0.2", "output": "0.4"}
    made, _ = of(documented, "POST")[:2]
    assert made == {
        "name": "text", "base_url": "https://models.example/v1", "api_key": "secret", "enabled": True,
        "models": [model], "query": {"api-version": "1"},
    }  # fmt: skip
    again = {"name": "text", "input": "0.5", "output": "1", "embedding": "1", "context_window": 1}
    assert of(documented, "PATCH") == [{"models": [again], "enabled": False, "revision": 1}]
    whose = "/v1/operator/providers" if who[0] == "admin" else "/v1/providers"
    assert {path[: len(whose)] for _, path, _ in documented.asked if "providers" in path} == {whose}


async def test_the_key_of_a_provider_comes_from_the_environment_or_standard_input(
    documented: Documented, docuchat: Command
) -> None:
    await docuchat("model-providers", *ADDED)
    nothing = await docuchat("model-providers", *ADDED, "--ask-key", text="\n")
    assert nothing.code == 2 and "no key came" in nothing.err
    docuchat.environment["DOCUCHAT_PROVIDER_KEY"] = "from the environment"
    await docuchat("model-providers", *ADDED)
    await docuchat("model-providers", "change", "text", "--enable")
    await docuchat("model-providers", "change", "text", "--ask-key")
    assert [body.get("api_key") for body in of(documented, "POST")] == [None, "from the environment"]
    assert [body.get("api_key") for body in of(documented, "PATCH")] == [None, "from the environment"]


@pytest.mark.parametrize(
    ("hint", "said"), [("x9Qf", "key …x9Qf"), ("", "a key too short to show its end"), (None, "no key")]
)
async def test_whether_a_provider_has_a_key_and_what_its_models_take_is_shown(
    documented: Documented, service: Service, docuchat: Command, hint: str | None, said: str
) -> None:
    shown = json.loads((await docuchat("model-providers", "show", "text", "--json")).out)
    shown = {**shown, "api_key_hint": hint, "models": [{**shown["models"][0], "context_window": 16384}]}
    service.on("GET", f"/v1/providers/{CHAT}", JSONResponse(shown))
    service.on("GET", "/v1/providers", JSONResponse({"items": [shown], "next_cursor": None}))
    done = await docuchat("model-providers", "show", "text")
    assert f", {said}\n" in done.out, done.err
    assert done.out.endswith("USD per million tokens, 16,384 tokens at most\n")


async def test_what_is_wrong_with_a_provider_is_said_and_fails(
    documented: Documented, service: Service, docuchat: Command
) -> None:
    detail = "The provider refuses the key (status 401); send another `api_key`."
    said = {"ok": False, "outcome": "key_refused", "status": 401, "detail": detail, "unknown_models": []}
    service.on("POST", f"/v1/providers/{CHAT}/check", JSONResponse(said))
    checked = await docuchat("model-providers", "check", "text")
    assert checked.code == 1 and "(status 401); `change` it with --ask-key [key_refused]" in checked.err
    problem = {
        "status": 422,
        "code": "provider_key_needed",
        "detail": "Send `api_key` together with the new `base_url`.",
    }
    service.on("PATCH", f"/v1/providers/{CHAT}", JSONResponse(problem, 422))
    moved = await docuchat("model-providers", "change", "text", "--base-url", "https://other.example/v1")
    assert moved.code == 1 and "give --ask-key together with --base-url [provider_key_needed]" in moved.err
    for wrong in (("--price", "small=much"), ("--price", "other=1,2"), ("--context-window", "text=big"), ()):
        refused = await docuchat("model-providers", "change", "text", *wrong)
        assert refused.code == 2, (wrong, refused.err)
    unknown = await docuchat("model-providers", "show", "nothing")
    assert unknown.code == 4 and "`docuchat model-providers list` shows them" in unknown.err


async def test_models_are_listed(documented: Documented, docuchat: Command) -> None:
    done = await docuchat("models")
    assert done.out == "text\tmodel\ttext\ttext\n", done.err
    assert json.loads((await docuchat("models", "--json")).out)[0]["kind"] == "model"
