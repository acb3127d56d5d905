"""The widget in a real browser, on pages of other origins: the whole product answers, the stub provider keeps books."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from docuchat_testkit.chromium import Page
from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, User
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule
from docuchat_testkit.shop import Bot, Shop, faults, script

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

_WEB: Final = Path(__file__).parents[2] / "web"
_QUESTION: Final = "How long does the warranty of the kettle last?"
_DENY: Final = """
for (const name of ['localStorage', 'sessionStorage']) {
  Object.defineProperty(window, name, { get() { throw new DOMException('denied', 'SecurityError'); } });
}
"""
_HOSTILE: Final = """\
<script>window.hacked = 1</script> <img src=x onerror="window.hacked = 2"> <b>bold</b> **<i>both</i>**

[a link](javascript:window.hacked=3) ![a picture](https://tracker.example/p.png) <https://tracker.example/q>

<style>.panel { display: none }</style> {endless}

| a | b | c | d | e | f | g | h | i | j |
|---|---|---|---|---|---|---|---|---|---|
{rows}

> > > > > > > > > deep

    <textarea></textarea><iframe srcdoc="<script>parent.hacked = 4</script>"></iframe>
"""


async def answers(product: Product, user: User) -> list[str]:
    async with product.database() as admin:
        rows = await admin.fetch(
            "SELECT content FROM chat.messages WHERE tenant_id = $1 AND role = 'assistant' ORDER BY created_at",
            user.tenant_id,
        )
    return [row["content"] for row in rows]


def asked(provider: StubProviderHandle) -> int:
    return sum(call.endpoint == "chat" for call in provider.calls())


def plain(text: str) -> str:
    return " ".join(text.split())


async def press(page: Page, key: str, *, shift: bool = False) -> None:
    """Press a key as a keyboard does."""
    codes = {"Tab": 9, "Enter": 13, "Escape": 27}
    event = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key], "modifiers": 8 if shift else 0}
    text = {"text": "\r"} if key == "Enter" else {}
    await page.send("Input.dispatchKeyEvent", type="keyDown", **event, **text)
    await page.send("Input.dispatchKeyEvent", type="keyUp", **event)


async def focused(page: Page) -> str:
    """What has the focus: its class, else its tag."""
    said: str = await page.run(
        script("const it = root()?.activeElement ?? document.activeElement; return it.className || it.localName;")
    )
    return said


async def test_an_answer_goes_on_after_a_reload_and_on_the_next_page(
    product: Product, bot: Bot, shop: Shop, page: Page, stub_provider: StubProviderHandle
) -> None:
    stub_provider.control(Rule(endpoint="chat", exact_tokens=160, rate=40))
    await page.go(shop.url())
    half = await page.run(
        script(
            "await there(); DocuChat.ask(question); await until(() => words().length > 60); return words();", "question"
        ),
        _QUESTION,
    )
    await page.go(shop.url())
    # open as it was left, with the question once, and the answer from its beginning
    await page.run(script("await until(() => words().length > 20)"))
    shown, questions = await page.run(
        script("await over(); return [words(), all('.question').map((it) => it.innerText)];")
    )
    (stored,) = await eventually(partial(answers, product, bot.owner))
    assert plain(shown) == plain(stored) and plain(shown).startswith(plain(half)[:40])
    assert len(questions) == 1 and _QUESTION in questions[0]
    assert asked(stub_provider) == 1

    await page.go(shop.url("/next"))
    shown = await page.run(script("await over(); return words();"))
    assert plain(shown) == plain(stored)
    stub_provider.control(Rule(endpoint="chat", exact_tokens=20))
    await page.run(script("DocuChat.ask('And how much does it hold?'); await until(() => all('.acts').length === 2);"))
    assert asked(stub_provider) == 2
    async with product.database() as admin:
        assert await admin.fetchval("SELECT count(*) FROM chat.chats WHERE tenant_id = $1", bot.owner.tenant_id) == 1
    # a new conversation begins with the greeting, and is one after a reload as well
    await page.run(script("one('header .tool').click(); await until(() => !one('.answer') && one('.suggestions'));"))
    await page.go(shop.url())
    await page.run(script("await until(() => one('.suggestions')); if (one('.answer')) throw new Error('old words');"))
    assert asked(stub_provider) == 2


async def test_a_reload_before_the_first_word_asks_nothing_twice(
    bot: Bot, shop: Shop, page: Page, stub_provider: StubProviderHandle
) -> None:
    stub_provider.control(Rule(endpoint="chat", exact_tokens=30, first_token_delay=1.5))
    await page.go(shop.url())
    await page.run(
        script("await there(); DocuChat.ask(question); await until(() => one('.searching'));", "question"), _QUESTION
    )
    await page.go(shop.url())
    shown = await page.run(
        script("await over(); return [all('.question').length, one('.log').innerText, window.told];")
    )
    assert shown[0] == 1 and shown[2] == [], shown
    assert asked(stub_provider) == 1


async def test_it_is_stopped_and_judged(
    product: Product, bot: Bot, shop: Shop, page: Page, stub_provider: StubProviderHandle
) -> None:
    stub_provider.control(Rule(endpoint="chat", exact_tokens=400, rate=30))
    await page.go(shop.url())
    told = await page.run(
        script(
            """
            window.events = [];
            for (const name of ['open', 'question', 'answer', 'feedback', 'close', 'ready']) {
              DocuChat.on(name, (detail) => window.events.push([name, detail.chatbot]));
            }
            await there();
            DocuChat.ask(question);
            await until(() => words().length > 40);
            one('.go').click();
            await until(() => one('.remark'));
            all('.acts .tool')[1].click();
            const form = await until(() => one('.why'));
            form.querySelector('.reasons button').click();
            const field = form.querySelector('textarea');
            field.value = 'It says nothing of kettles.';
            form.querySelector('[type=submit]').click();
            await until(() => one('.said')?.textContent);
            DocuChat.close();
            return window.events;
            """,
            "question",
        ),
        _QUESTION,
    )
    assert [name for name, _ in told] == ["ready", "open", "question", "answer", "feedback", "feedback", "close"]
    assert {chatbot for _, chatbot in told} == {bot.publishable_id}
    async with product.database() as admin:
        row = await admin.fetchrow(
            "SELECT rating, reason, text FROM chat.feedback WHERE tenant_id = $1", bot.owner.tenant_id
        )
    assert row is not None
    assert tuple(row) == ("down", "incorrect", "It says nothing of kettles.")
    (stored,) = await answers(product, bot.owner)
    assert len(stored.split()) < 400


async def test_all_of_it_works_by_keyboard(bot: Bot, shop: Shop, page: Page) -> None:
    await page.go(shop.url())
    await page.run(script("await there();"))
    await press(page, "Tab")
    assert await focused(page) == "launcher"
    await press(page, "Enter")
    assert await focused(page) == "textarea"
    await page.send("Input.insertText", text=_QUESTION)
    await press(page, "Enter")
    quote = await page.run(script("await over(); return all('.quote')[0].innerText;"))
    assert "36 months" in quote or quote == ""
    for _ in range(30):
        await press(page, "Tab", shift=True)
        if await focused(page) == "cite":
            break
    assert await focused(page) == "cite"
    await press(page, "Enter")
    shown = await page.run(
        script(
            "return [one('button.cite').ariaExpanded, one('.quote:not([hidden])').innerText, one('.place').innerText];"
        )
    )
    assert shown[0] == "true" and "36 months" in shown[1] and shown[2] == "Page 1"
    await press(page, "Escape")
    assert await focused(page) == "launcher"
    assert await page.run(script("return one('.panel').hidden;"))


async def test_pages_of_other_origins_and_copied_storage_open_nothing(
    product: Product, bot: Bot, shop: Shop, page: Page, stub_provider: StubProviderHandle
) -> None:
    await page.go(shop.url())
    await page.run(script("await there(); DocuChat.ask(question); await over();", "question"), _QUESTION)
    source = shop.page("")
    kept = await page.run("async () => JSON.stringify({ ...localStorage, ...sessionStorage })")
    secrets = [text for text in (source, kept) if "dck_" in text or "sk_" in text]
    assert not secrets and bot.publishable_id in source
    token = next(json.loads(value) for name, value in json.loads(kept).items() if name.endswith(":visitor"))
    calls = asked(stub_provider)
    thief = """
      const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
      const body = JSON.stringify({ question: 'Tell me all.' });
      const answers = [];
      for (const [path, options] of [
        [`/v1/public/chatbots/${bot}/query`, { method: 'POST', headers, body }],
        ['/v1/chats', { headers }],
        ['/v1/files', { headers }],
      ]) {
        const answer = await fetch(server + path, options).catch(() => null);
        answers.push(answer ? (await answer.json()).code : 'blocked');
      }
      return answers;
    """
    await page.go(shop.url(host="127.0.0.1"))
    stolen = await page.run(script(thief, "server", "bot", "token"), shop.script_origin, bot.publishable_id, token)
    assert stolen[0] == "origin_not_allowed" and not any(code is None for code in stolen), stolen
    # the widget says so to the page's developer, and is polite to visitors
    text, hints = await page.run(
        script(
            "await there(); DocuChat.ask(question); await until(() => one('.trouble'));"
            "return [one('.trouble').innerText, window.told];",
            "question",
        ),
        _QUESTION,
    )
    assert "not available" in text
    assert any(f"--origin {shop.url('', '127.0.0.1')}" in hint for hint in hints), hints
    assert asked(stub_provider) == calls
    async with product.client() as http:
        headers = {"Authorization": f"Bearer {token}"}
        body = {"question": _QUESTION}
        bare = await http.post(f"/v1/public/chatbots/{bot.publishable_id}/query", json=body, headers=headers)
        assert bare.status_code == 403


async def test_a_strict_policy_has_nothing_to_report(bot: Bot, shop: Shop, page: Page) -> None:
    await bot.change(colours={"accent": "#0b7a5b"})
    await page.go(shop.url("/strict"))
    seen, style = await page.run(
        script(
            """
            await there();
            one('.launcher').click();
            DocuChat.ask(question);
            await over();
            one('button.cite').click();
            all('.acts .tool')[1].click();
            await until(() => one('.why'));
            DocuChat.configure({ language: 'fa' });
            const panel = getComputedStyle(one('.panel'));
            const { backgroundColor } = getComputedStyle(one('.launcher'));
            return [window.seen, [panel.position, backgroundColor, one('.root').dir]];
            """,
            "question",
        ),
        _QUESTION,
    )
    assert seen == [] and shop.reports == []
    assert style == ["fixed", "rgb(11, 122, 91)", "rtl"]


@pytest.mark.parametrize("language", ["en", "fa"])
async def test_axe_finds_nothing_by_day_and_by_night(bot: Bot, shop: Shop, page: Page, axe: str, language: str) -> None:
    for scheme in ("light", "dark"):
        await page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await page.go(shop.url(f"/?lang={language}"))
        await page.run(script("localStorage.clear(); sessionStorage.clear();"))
        await page.go(shop.url(f"/?lang={language}"))
        await page.run(script("await there();"))
        assert await faults(page, axe) == []
        await page.run(script("one('.launcher').click(); await until(() => one('.suggestions button'));"))
        await page.run(script("await Promise.all(one('.panel').getAnimations().map((it) => it.finished));"))
        assert await faults(page, axe) == []
        await page.run(
            script(
                "one('.suggestions button').click(); await over(); one('button.cite').click();"
                "all('.acts .tool')[1].click(); await until(() => one('.why'));"
            )
        )
        assert await faults(page, axe) == []


async def test_hostile_answers_are_text(bot: Bot, shop: Shop, page: Page, stub_provider: StubProviderHandle) -> None:
    rows = "\n".join("| " + " | ".join(["cell"] * 10) + " |" for _ in range(150))
    text = _HOSTILE.replace("{rows}", rows).replace("{endless}", "endless" * 400)
    stub_provider.control(Rule(endpoint="chat", text=text))
    await bot.change(answer_policy={"own_knowledge": True})
    await page.go(shop.url())
    shown = await page.run(
        script(
            """
            await there();
            DocuChat.ask(question);
            await over();
            const log = one('.log');
            return {
              words: words(),
              made: all('.words *').map((it) => it.localName),
              hacked: window.hacked ?? null,
              isWide: log.scrollWidth > log.clientWidth,
              asked: performance.getEntriesByType('resource').filter((it) => it.name.includes('tracker')).length,
            };
            """,
            "question",
        ),
        _QUESTION,
    )
    allowed = {
        "p",
        "br",
        "strong",
        "em",
        "code",
        "pre",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "div",
        "blockquote",
    }
    assert set(shown["made"]) <= allowed | {"span", "button", "hr", "del"}, set(shown["made"])
    assert "b>bold" in shown["words"] and "script>window.hacked = 1" in shown["words"]
    assert shown["hacked"] is None and not shown["isWide"] and shown["asked"] == 0


async def test_screen_readers_are_told_whole_sentences(
    bot: Bot, shop: Shop, page: Page, stub_provider: StubProviderHandle
) -> None:
    text = "The warranty of the kettle lasts 36 months [1]. " * 12
    stub_provider.control(Rule(endpoint="chat", text=text, rate=25))
    await page.go(shop.url())
    told = await page.run(
        script(
            """
            await there();
            one('.launcher').click();
            const told = [];
            const watch = new MutationObserver((changes) => {
              for (const { addedNodes } of changes) for (const node of addedNodes) told.push(node.textContent);
            });
            watch.observe(await until(() => one('[aria-live=polite]')), { childList: true });
            DocuChat.ask(question);
            await over();
            await until(() => told.join().split('36 months.').length > 12);
            return told;
            """,
            "question",
        ),
        _QUESTION,
    )
    assert "Looking through" in told[0] and 2 < len(told) < 30
    assert all(words[-1] in ".…" for words in told), told
    assert " ".join(told).count("36 months.") == 12


async def test_on_a_phone_it_covers_the_page_and_keeps_the_focus(bot: Bot, shop: Shop, page: Page) -> None:
    phone = {"width": 390, "height": 780, "deviceScaleFactor": 1, "mobile": True}
    await page.send("Emulation.setDeviceMetricsOverride", **phone)
    await page.go(shop.url())
    box, modal = await page.run(
        script(
            """
            await there();
            one('.launcher').click();
            await Promise.all(one('.panel').getAnimations().map((it) => it.finished));
            const { x, y, width, height } = one('.panel').getBoundingClientRect();
            return [[x, y, width, height], one('.panel').ariaModal];
            """
        )
    )
    assert (box, modal) == ([0, 0, 390, 780], "true")
    for _ in range(12):
        await press(page, "Tab")
        assert await page.run(script("return one('.panel').contains(root().activeElement);"))
    await press(page, "Escape")
    assert await focused(page) == "launcher"
    # it is not in the way of the next page
    await page.run(script("one('.launcher').click();"))
    await page.go(shop.url("/next"))
    assert await page.run(script("await there(); return one('.panel').hidden;"))


async def test_rules_of_the_page_do_not_reach_it(bot: Bot, shop: Shop, page: Page) -> None:
    await page.go(shop.url())
    shown = await page.run(
        script(
            """
            await there();
            const look = () => {
              const seen = (selector) => getComputedStyle(one(selector));
              const { width, height, x, y } = one('.launcher').getBoundingClientRect();
              const { color, fontSize, letterSpacing, textTransform, visibility, direction } = seen('.names h2');
              return [width, height, x, y, color, fontSize, letterSpacing, textTransform, visibility, direction];
            };
            one('.launcher').click();
            await Promise.all(one('.launcher').getAnimations({ subtree: true }).map((it) => it.finished));
            const before = look();
            const sheet = new CSSStyleSheet();
            sheet.replaceSync(`
              * { letter-spacing: 9px !important; color: red !important; font-size: 40px !important; zoom: 1; }
              html { text-transform: uppercase; direction: rtl; visibility: hidden; }
              body > *, docuchat-widget { display: none !important; visibility: hidden !important; }
              docuchat-widget { transform: scale(3) !important; position: static !important; opacity: 0 !important; }
              button { padding: 50px !important; background: red !important; }
            `);
            document.adoptedStyleSheets = [sheet];
            return [before, look()];
            """
        )
    )
    assert shown[0] == shown[1]


async def test_what_is_refused_says_what_to_do(
    bot: Bot, shop: Shop, page: Page, stub_provider: StubProviderHandle
) -> None:
    await bot.change(demo_messages=1)
    await page.go(shop.url())
    await page.run(script("await there(); DocuChat.ask(question); await over();", "question"), _QUESTION)
    limit = await page.run(
        script("DocuChat.ask('Another?'); await until(() => one('.trouble')); return one('.trouble').innerText;")
    )
    assert "this month" in limit and "retry" not in limit.lower() and "Try again" not in limit
    stub_provider.control(Rule(endpoint="chat", status=500))
    await bot.change(demo_messages=0)
    again = await page.run(
        script(
            "DocuChat.ask('A third?'); await until(() => all('.trouble').length > 1);"
            "return all('.trouble').at(-1).innerText;"
        )
    )
    assert "Try again" in again
    stub_provider.reset()
    await page.run(script("all('.trouble .link').at(-1).click(); await until(() => all('.acts').length === 2);"))
    assert await page.run(script("return all('.question').length;")) == 3
    taken = await bot.owner.http.post(f"/v1/chatbots/{bot.id}/unpublish")
    assert taken.status_code in (200, 204), taken.text
    await page.go(shop.url())
    hints, is_hidden = await page.run(
        script("await until(() => window.told.length); return [window.told, one('.launcher').hidden];")
    )
    assert is_hidden and "is not published" in hints[0]


async def test_a_lost_network_is_told_and_comes_back(
    product: Product, bot: Bot, shop: Shop, page: Page, stub_provider: StubProviderHandle
) -> None:
    stub_provider.control(Rule(endpoint="chat", exact_tokens=160, rate=40))
    await page.send("Network.enable")
    await page.go(shop.url())
    await page.run(
        script("await there(); DocuChat.ask(question); await until(() => words().length > 40);", "question"), _QUESTION
    )
    away = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    await page.send("Network.emulateNetworkConditions", offline=True, **away)
    assert "offline" in await page.run(
        script("return (await until(() => !one('.state').hidden && one('.state'))).innerText;")
    )
    await page.send("Network.emulateNetworkConditions", offline=False, **away)
    shown = await page.run(script("await over(); return words();"))
    (stored,) = await eventually(partial(answers, product, bot.owner))
    assert plain(shown) == plain(stored) and asked(stub_provider) == 1
    assert await page.run(script("return one('.state').hidden;"))


async def test_it_works_where_storage_is_denied(bot: Bot, shop: Shop, page: Page) -> None:
    await page.send("Page.addScriptToEvaluateOnNewDocument", source=_DENY)
    await page.go(shop.url())
    shown = await page.run(
        script("await there(); DocuChat.ask(question); await over(); return words();", "question"), _QUESTION
    )
    assert "36 months" in shown


async def test_two_tabs_do_not_disturb_each_other(
    product: Product, bot: Bot, shop: Shop, page: Page, stub_provider: StubProviderHandle
) -> None:
    stub_provider.control(Rule(endpoint="chat", exact_tokens=120, rate=40))
    await page.go(shop.url())
    await page.run(
        script("await there(); DocuChat.ask(question); await until(() => words().length > 20);", "question"), _QUESTION
    )
    shown = await page.run(
        script(
            """
            const tab = window.open('/other');
            const other = () => tab.document.querySelector('docuchat-widget')?.shadowRoot;
            const inOther = (selector) => [...(other()?.querySelectorAll(selector) ?? [])];
            await until(() => inOther('.launcher:not([hidden])').length);
            tab.DocuChat.ask('How much does it hold?');
            await until(() => inOther('.acts').length === 2);
            await over();
            return [words(), all('.question').length, inOther('.words').map((it) => it.innerText)];
            """
        )
    )
    first, second = await answers(product, bot.owner)
    assert asked(stub_provider) == 2
    assert plain(shown[0]) == plain(first) and shown[1] == 1
    assert [plain(text) for text in shown[2]] == [plain(first), plain(second)]


async def test_calls_before_it_is_there_and_a_second_tag_do_no_harm(bot: Bot, shop: Shop, page: Page) -> None:
    early = "window.DocuChat = [['configure', { labels: { subtitle: 'Early words' } }], ['open']];"
    added = await page.send("Page.addScriptToEvaluateOnNewDocument", source=early)
    await page.go(shop.url("/?copies=2&label-placeholder=Say&position=left"))
    shown = await page.run(
        script(
            """
            await there();
            await until(() => !one('.panel').hidden);
            const names = Object.keys(window).filter((name) => /docuchat/i.test(name));
            const found = [
              document.querySelectorAll('docuchat-widget').length,
              one('.names p').innerText,
              one('textarea').placeholder,
              one('.root').classList.contains('left'),
              names,
            ];
            document.body.replaceChildren(document.createElement('main'));
            await until(() => root());
            DocuChat.destroy();
            return [...found, document.querySelectorAll('docuchat-widget').length];
            """
        )
    )
    assert shown == [1, "Early words", "Say", True, ["DocuChat"], 0]
    await page.send("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])


async def test_its_parts_do_what_they_say(with_node: dict[str, str]) -> None:
    """Markdown and colours, by Node's own test runner."""
    tests = [str(path) for path in sorted((_WEB / "widget" / "test").glob("*.test.ts"))]
    run = await asyncio.create_subprocess_exec(
        "node", "--test", *tests, env=with_node, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    with contextlib.suppress(ProcessLookupError):
        said, _ = await run.communicate()
    assert tests and run.returncode == 0, said.decode()
