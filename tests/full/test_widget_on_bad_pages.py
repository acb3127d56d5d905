"""The widget where pages, networks and visitors are as they are: hostile styles, other scripts, pauses, stalls."""

from __future__ import annotations

from typing import Any, Final

import pytest

from docuchat_testkit.chromium import Page
from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule
from docuchat_testkit.shop import Bot, Shop, publish_bot, script

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

_QUESTION: Final = "How long does the warranty of the kettle last?"
_NEXT: Final = "And how many litres does the kettle hold?"
_ASK: Final = "await there(); DocuChat.ask(question); await over(); return words();"
_RULES: Final = """
*, *::before, *::after { all: unset !important; letter-spacing: 9px !important; }
html { font-size: 62.5%; }
body { direction: rtl; text-align: end; text-transform: uppercase; }
docuchat-widget { z-index: -1 !important; width: 100px !important; }
.cover { position: fixed !important; inset: 0 !important; z-index: 999999999 !important; display: block !important; }
"""
_LOOK: Final = """
  const parts = ['.launcher', '.panel', '.names h2', '.log', '.greeting', '.box', 'textarea', '.suggestions button'];
  const look = () => parts.map((part) => {
    const { x, y, width, height } = one(part).getBoundingClientRect();
    const { color, fontSize, direction, letterSpacing, textAlign, textTransform } = getComputedStyle(one(part));
    return [part, x, y, width, height, color, fontSize, direction, letterSpacing, textAlign, textTransform];
  });
"""
_ALL_OF: Final = """
  const hosts = () => [...document.querySelectorAll('docuchat-widget')].map((host) => host.shadowRoot);
  const shown = () => hosts().filter((each) => !each.querySelector('.launcher')?.hidden);
  const boxes = () => shown().map((each) => each.querySelector('.launcher').getBoundingClientRect());
  const isOpen = () => hosts().map((each) => !each.querySelector('.panel').hidden);
"""
_STALL: Final = """
  const [real, later] = [window.fetch, window.setTimeout];
  // the widget's patience of 45 seconds, in a hurry
  window.setTimeout = (act, wait, ...given) => later(act, wait === 45000 ? 1500 : wait, ...given);
  window.stalled = 0;
  window.fetch = async (url, options) => {
    const answer = await real(url, options);
    const isEvents = answer.headers.get('content-type')?.startsWith('text/event-stream');
    if (!isEvents || window.stalled) return answer;
    window.stalled += 1;
    const reader = answer.body.getReader();
    let pieces = 0;
    const body = new ReadableStream({
      async pull(controller) {
        const { value } = await reader.read();
        pieces += 1;
        if (pieces > 6) {
          // nothing comes any more, and nothing ends
          await new Promise((_, fail) => options.signal.addEventListener('abort', () => fail(options.signal.reason)));
        }
        controller.enqueue(value);
      },
    });
    return new Response(body, { status: answer.status, headers: answer.headers });
  };
"""
_LIMIT: Final = """
  const real = window.fetch;
  window.waits = ['1', '40'];
  window.fetch = async (url, options) => {
    if (!String(url).endsWith('/query') || !window.waits.length) return real(url, options);
    const problem = { status: 429, code: 'rate_limited', title: 'Too many requests', detail: 'Too many requests.' };
    const headers = { 'Content-Type': 'application/problem+json', 'Retry-After': window.waits.shift() };
    return new Response(JSON.stringify(problem), { status: 429, headers });
  };
"""


def asked(provider: StubProviderHandle) -> int:
    return sum(call.endpoint == "chat" for call in provider.calls())


async def chats(product: Product, bot: Bot) -> int:
    async with product.database() as admin:
        count: int = await admin.fetchval("SELECT count(*) FROM chat.chats WHERE tenant_id = $1", bot.owner.tenant_id)
    return count


async def test_rules_that_undo_all_styles_change_nothing_of_it(bot: Bot, shop: Shop, page: Page) -> None:
    await page.go(shop.url())
    before, after, on_top = await page.run(
        script(
            _LOOK
            + """
            await there();
            one('.launcher').click();
            await Promise.all(one('.panel').getAnimations().map((it) => it.finished));
            await Promise.all(one('.launcher').getAnimations({ subtree: true }).map((it) => it.finished));
            const before = look();
            const sheet = new CSSStyleSheet();
            sheet.replaceSync(rules);
            document.adoptedStyleSheets = [sheet];
            const cover = document.body.appendChild(document.createElement('div'));
            cover.className = 'cover';
            const { x, y } = one('textarea').getBoundingClientRect();
            return [before, look(), document.elementFromPoint(x + 5, y + 5).localName];
            """,
            "rules",
        ),
        _RULES,
    )
    assert after == before
    assert on_top == "docuchat-widget"
    assert "36 months" in await page.run(script(_ASK, "question"), _QUESTION)


async def test_a_tag_that_a_loader_takes_away_at_once_has_done_its_work(bot: Bot, shop: Shop, page: Page) -> None:
    shop.pages["/loader"] = "<!doctype html><title>A shop</title><body><h1>Kettles</h1>"
    await page.go(shop.url("/loader"))
    text = await page.run(
        script(
            """
            const template = document.createElement('template');
            template.innerHTML = html;
            const given = template.content.querySelector('script');
            const tag = document.createElement('script');
            for (const { name, value } of given.attributes) tag.setAttribute(name, value);
            document.head.append(tag);
            tag.remove();
            """
            + _ASK,
            "html",
            "question",
        ),
        shop.tag,
        _QUESTION,
    )
    assert "36 months" in text
    assert not await page.run("async () => document.querySelector('script')")


async def test_two_chatbots_of_a_page_are_not_in_each_others_way(
    product: Product, bot: Bot, shop: Shop, page: Page
) -> None:
    first = shop.tag
    other = await publish_bot(bot.owner, shop, name="Sales")
    shop.pages["/two"] = f"<!doctype html><title>A shop</title><body><h1>Kettles</h1>{first}{shop.tag}"
    ids = (bot.publishable_id, other.publishable_id)
    await page.go(shop.url("/two"))
    places, opened = await page.run(
        script(
            _ALL_OF
            + """
            await until(() => shown().length === 2);
            const places = boxes().map(({ left, right, top }) => [left, right, top]);
            const opened = [];
            for (const each of hosts()) {
              each.querySelector('.launcher').click();
              opened.push(isOpen());
            }
            return [places, opened];
            """
        )
    )
    (left, right, top), (other_left, other_right, other_top) = places
    assert top == other_top and (other_right < left or right < other_left), places
    assert opened == [[True, False], [False, True]]
    answered = await page.run(
        script(
            _ALL_OF
            + """
            const answers = [];
            for (const id of ids) {
              const answered = new Promise((go) => DocuChat.on('answer', (it) => it.chatbot === id && go(it)));
              DocuChat.ask(question, id);
              answers.push((await answered).text);
            }
            return [answers, hosts().map((each) => each.querySelectorAll('.question').length), isOpen()];
            """,
            "question",
            "ids",
        ),
        _QUESTION,
        ids,
    )
    assert all("36 months" in text for text in answered[0])
    assert answered[1:] == [[1, 1], [False, True]]
    assert await chats(product, bot) == 2
    # on a phone the open one covers the page, the other's launcher too
    phone = {"width": 390, "height": 780, "deviceScaleFactor": 1, "mobile": True}
    await page.send("Emulation.setDeviceMetricsOverride", **phone)
    on_top = await page.run(
        script(
            _ALL_OF
            + """
            DocuChat.close();
            DocuChat.open(ids[0]);
            const [box] = boxes().filter(({ width }) => width);
            const [open, closed] = [isOpen(), document.elementFromPoint(box.left + 20, box.top + 20)];
            return [open, closed === document.querySelector('docuchat-widget')];
            """,
            "ids",
        ),
        ids,
    )
    assert on_top == [[True, False], True]


async def test_a_page_that_replaces_itself_in_mid_answer_keeps_the_answer(
    bot: Bot, shop: Shop, page: Page, stub_provider: StubProviderHandle
) -> None:
    stub_provider.control(Rule(endpoint="chat", exact_tokens=120, rate=40))
    await page.go(shop.url())
    shown = await page.run(
        script(
            """
            await there();
            DocuChat.ask(question);
            await until(() => words().length > 40);
            history.pushState({}, '', '/kettles/2');
            const body = document.createElement('body');
            body.append(document.createElement('main'));
            document.documentElement.replaceChild(body, document.body);
            await until(() => root()?.host.isConnected);
            history.replaceState({}, '', '/kettles/3');
            dispatchEvent(new PopStateEvent('popstate', { state: {} }));
            await over();
            const { length } = document.querySelectorAll('docuchat-widget');
            return [length, all('.question').length, one('.panel').hidden, words().length > 200, location.pathname];
            """,
            "question",
        ),
        _QUESTION,
    )
    assert shown == [1, 1, False, True, "/kettles/3"]
    assert asked(stub_provider) == 1


async def go_back(page: Page, path: str) -> bool:
    """Press the browser's button, and tell whether the page came as it was left."""
    history = await page.send("Page.getNavigationHistory")
    entry = history["entries"][history["currentIndex"] - 1]
    await page.send("Page.navigateToHistoryEntry", entryId=entry["id"])

    async def there() -> Any:
        where, was_kept = await page.run("async () => [location.pathname, window.wasKept ?? null]")
        assert where == path and was_kept is not None
        return was_kept

    return bool(await eventually(there))


async def test_who_comes_back_by_the_browsers_button_finds_the_conversation_as_it_went_on(
    bot: Bot, shop: Shop, page: Page, stub_provider: StubProviderHandle
) -> None:
    watch = "addEventListener('pageshow', (event) => { window.wasKept = event.persisted; });"
    await page.send("Page.addScriptToEvaluateOnNewDocument", source=watch)
    stub_provider.control(Rule(endpoint="chat", exact_tokens=60, rate=30))
    await page.go(shop.url("/first"))
    await page.run(
        script("await there(); DocuChat.ask(question); await until(() => words().length > 20);", "question"), _QUESTION
    )
    await page.go(shop.url("/second"))
    await page.run(
        script("await over(); DocuChat.ask(question); await until(() => all('.acts').length === 2);", "question"), _NEXT
    )
    assert await go_back(page, "/first"), "Chromium did not keep the page, so that this shows nothing"
    shown = await page.run(
        script(
            "await until(() => all('.acts').length === 2);"
            "return [all('.question p').map((it) => it.innerText), all('.trouble').length, one('.state').hidden];"
        )
    )
    assert shown == [[_QUESTION, _NEXT], 0, True]
    assert asked(stub_provider) == 2
    # another conversation, begun on the page before, is the one here as well
    await page.go(shop.url("/third"))
    await page.run(script("await over(); one('header .tool').click(); await until(() => !one('.answer'));"))
    assert await go_back(page, "/first")
    assert await page.run(script("await until(() => !one('.answer')); return all('.question').length;")) == 0


async def test_a_stream_that_stalls_is_opened_again_behind_what_is_there(
    bot: Bot, shop: Shop, page: Page, stub_provider: StubProviderHandle
) -> None:
    stub_provider.control(Rule(endpoint="chat", text="The warranty of the kettle lasts 36 months [1]. " * 6, rate=60))
    await page.send("Page.addScriptToEvaluateOnNewDocument", source=_STALL)
    await page.go(shop.url())
    text, stalled, questions = await page.run(
        script(
            "await there(); DocuChat.ask(question); await over();"
            "return [words(), window.stalled, all('.question').length];",
            "question",
        ),
        _QUESTION,
    )
    assert (stalled, questions) == (1, 1)
    assert text.count("36 months") == 6
    assert asked(stub_provider) == 1


async def test_a_limit_is_waited_for_when_it_is_short_and_told_when_it_is_long(
    bot: Bot, shop: Shop, page: Page, stub_provider: StubProviderHandle
) -> None:
    await page.send("Page.addScriptToEvaluateOnNewDocument", source=_LIMIT)
    await page.go(shop.url())
    told = await page.run(
        script(
            "await there(); DocuChat.ask(question); return (await until(() => one('.trouble'))).innerText;", "question"
        ),
        _QUESTION,
    )
    assert "in 40 seconds" in told and "Try again" in told
    assert await page.run("async () => window.waits.length") == 0, "the short one was not waited for"
    assert asked(stub_provider) == 0
    text = await page.run(script("one('.trouble .link').click(); await until(() => one('.acts')); return words();"))
    assert "36 months" in text
    assert await page.run(script("return all('.question').length;")) == 1


async def test_a_chatbot_that_is_taken_back_in_mid_conversation_says_so_and_goes_on_when_it_is_back(
    bot: Bot, shop: Shop, page: Page, stub_provider: StubProviderHandle
) -> None:
    await page.go(shop.url())
    assert "36 months" in await page.run(script(_ASK, "question"), _QUESTION)
    taken = await bot.owner.http.post(f"/v1/chatbots/{bot.id}/unpublish")
    assert taken.status_code in (200, 204), taken.text

    async def refused() -> None:
        told = await page.run(
            script(
                "const { length } = all('.answer'); DocuChat.ask(question);"
                "await until(() => all('.answer').length > length); await over();"
                "return all('.answer').at(-1).innerText;",
                "question",
            ),
            _NEXT,
        )
        assert "not available" in told and "Try again" not in told

    await refused()
    calls = asked(stub_provider)
    back = await bot.owner.http.post(f"/v1/chatbots/{bot.id}/publish")
    assert back.status_code == 201 or back.json()["code"] == "nothing_to_publish", back.text

    async def answered() -> None:
        assert "36 months" in await page.run(
            script(
                "const { length } = all('.answer'); DocuChat.ask(question);"
                "await until(() => all('.answer').length > length); await over(); return words();",
                "question",
            ),
            _QUESTION,
        )

    await eventually(answered)
    assert asked(stub_provider) == calls + 1


@pytest.mark.parametrize("is_noticed", [True, False], ids=["by its clock", "by a refusal"])
async def test_after_a_long_pause_the_visitor_goes_on_in_the_same_conversation(
    product: Product, bot: Bot, shop: Shop, page: Page, is_noticed: bool
) -> None:
    await page.go(shop.url())
    await page.run(script(_ASK, "question"), _QUESTION)
    before = await page.run("async () => Object.entries(localStorage).find(([name]) => name.endsWith(':visitor'))")
    pause = """
      const now = Date.now;
      if (isNoticed) Date.now = () => now() + 40 * 60 * 1000;
      else {
        const real = window.fetch;
        let refusals = 1;
        window.fetch = (url, options) => {
          if (!String(url).endsWith('/query') || !refusals--) return real(url, options);
          const problem = { status: 401, code: 'token_expired', title: 'Unauthorized', detail: 'It has ended.' };
          const headers = { 'Content-Type': 'application/problem+json' };
          return Promise.resolve(new Response(JSON.stringify(problem), { status: 401, headers }));
        };
      }
      DocuChat.ask(question);
      await until(() => all('.acts').length === 2);
      return [all('.question').length, all('.trouble').length];
    """
    assert await page.run(script(pause, "isNoticed", "question"), is_noticed, _NEXT) == [2, 0]
    after = await page.run("async () => Object.entries(localStorage).find(([name]) => name.endsWith(':visitor'))")
    assert after[0] == before[0] and after[1] != before[1]
    assert await chats(product, bot) == 1
