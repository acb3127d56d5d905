"""What visitors see of the widget, with answers of the product as it is without an account; the pictures are kept.

They are in `.local/pictures/`, to be looked at. What is judged here is what holds with any fonts: nothing is cut off
or runs over, sides and directions are those of the language, and axe finds enough contrast.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from docuchat_testkit.chromium import Page
from docuchat_testkit.pdf import pdf_of
from docuchat_testkit.product import Product
from docuchat_testkit.shop import Shop, faults, publish_bot, script
from docuchat_testkit.vocabulary import repository_root

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

PICTURES: Final = repository_root() / ".local" / "pictures"
EXAMPLE: Final = repository_root() / "examples" / "widget.html"
_SIZES: Final = {"desktop": (1280, 800), "phone": (390, 780)}
_WORDS: Final[dict[str, dict[str, Any]]] = {
    "en": {
        "name": "Help desk of the kettle shop",
        "text": ("The warranty of the kettle lasts 36 months.", "The deposit for the bottle is 25 cents."),
        "question": "How long does the warranty of the kettle last?",
        "more": "How much is the deposit for the bottle?",
        "greeting": "Welcome! Ask me anything about kettles.",
        "found": "36",
        "direction": "ltr",
        "page": "Page 1",
    },
    "fa": {
        "name": "پشتیبانی فروشگاه کتری",
        "text": ("ضمانت کتری دو سال است.", "ودیعهٔ بطری بیست سنت است."),
        "question": "ضمانت کتری چند سال است؟",
        "more": "ودیعهٔ بطری چقدر است؟",
        "greeting": "خوش آمدید! دربارهٔ کتری هر چه می‌خواهید بپرسید.",
        "found": "دو سال",
        "direction": "rtl",
        "page": "صفحهٔ ۱",
    },
}
_STILL: Final = """
  await Promise.all(one('.panel').getAnimations({ subtree: true })
    .filter((it) => it.effect.getTiming().iterations !== Infinity).map((it) => it.finished));
"""
_FACTS: Final = """
  const box = (element) => element.getBoundingClientRect();
  const seen = (element) => element.checkVisibility() && box(element).width > 1 && !element.closest('.unseen');
  const [panel, log, launcher] = [box(one('.panel')), box(one('.log')), one('.launcher')];
  const cut = all('.panel *').filter((it) => seen(it) && !(it instanceof SVGElement)).filter((it) => {
    const { left, right } = box(it);
    const isOutside = left < panel.left - 1 || right > panel.right + 1;
    const { overflowX, textOverflow } = getComputedStyle(it);
    const clips = overflowX !== 'visible' && textOverflow !== 'ellipsis' && it.scrollWidth > it.clientWidth + 1;
    return isOutside || clips;
  }).map((it) => it.outerHTML.slice(0, 120));
  const covered = all('.head .tool, .go, textarea').filter((it) => {
    const { left, top, width, height } = box(it);
    const hit = root().elementFromPoint(left + width / 2, top + height / 2);
    return !(it === hit || it.contains(hit));
  }).map((it) => it.className);
  const luminance = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number).reduce((all, one) => all + one) / 765;
  return {
    cut,
    covered,
    alone: all('.words .cite').filter((it) => it.closest('.held')?.getClientRects().length !== 1).length,
    isInView: panel.left >= 0 && panel.top >= 0 && panel.right <= innerWidth && panel.bottom <= innerHeight,
    isWide: document.documentElement.scrollWidth > innerWidth,
    direction: getComputedStyle(one('.log')).direction,
    side: panel.left + panel.width / 2 < innerWidth / 2 ? 'left' : 'right',
    day: luminance(getComputedStyle(one('.panel')).backgroundColor),
    ink: luminance(getComputedStyle(one('.answer, .greeting')).color),
    log: [log.width, log.height],
    text: one('.log').innerText,
    launcher: launcher.checkVisibility(),
  };
"""


async def picture(page: Page, name: str) -> bytes:
    """What the window shows now, kept as a file."""
    shot = base64.b64decode((await page.send("Page.captureScreenshot", format="png"))["data"])
    await asyncio.to_thread(PICTURES.mkdir, parents=True, exist_ok=True)
    await asyncio.to_thread((PICTURES / f"{name}.png").write_bytes, shot)
    return shot


@pytest.mark.parametrize("language", _WORDS)
async def test_it_looks_as_it_should_by_day_by_night_and_on_a_phone(
    embedded_product: Product, shop: Shop, page: Page, axe: str, language: str
) -> None:
    words = _WORDS[language]
    async with embedded_product.user(await embedded_product.new_tenant()) as user:
        await user.ready(pdf_of(*words["text"]))
        await publish_bot(
            user,
            shop,
            name=words["name"],
            greeting=words["greeting"],
            suggested_questions=[words["question"], words["more"]],
            language=language,
        )
        shots = []
        for device, (width, height) in _SIZES.items():
            measures = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": device == "phone"}
            await page.send("Emulation.setDeviceMetricsOverride", **measures)
            for scheme in ("light", "dark"):
                features = [{"name": "prefers-color-scheme", "value": scheme}]
                await page.send("Emulation.setEmulatedMedia", features=features)
                await page.go(shop.url(f"/?lang={language}"))
                await page.run("async () => { localStorage.clear(); sessionStorage.clear(); }")
                await page.go(shop.url(f"/?lang={language}"))
                name = f"{language}-{device}-{scheme}"
                await page.run(script(f"await there(); one('.launcher').click(); {_STILL}"))
                facts = [await page.run(script(_FACTS))]
                shots.append(await picture(page, f"{name}-greeting"))
                assert words["greeting"] in facts[0]["text"] and words["question"] in facts[0]["text"]
                open_source = "(await until(() => all('.sources button')[0])).click();"
                await page.run(
                    script(f"DocuChat.ask(question); await over(); {open_source} {_STILL}", "question"),
                    words["question"],
                )
                facts.append(await page.run(script(_FACTS)))
                shots.append(await picture(page, f"{name}-answer"))
                assert words["found"] in facts[1]["text"] and words["page"] in facts[1]["text"], facts[1]["text"]
                assert await faults(page, axe) == []
                for fact in facts:
                    assert (fact["cut"], fact["covered"], fact["alone"]) == ([], [], 0), name
                    assert fact["isInView"] and not fact["isWide"], name
                    assert fact["direction"] == words["direction"], name
                    contrast = fact["day"] - fact["ink"]
                    assert (contrast if scheme == "light" else -contrast) > 0.5, name
                    if device == "desktop":
                        assert fact["side"] == ("left" if words["direction"] == "rtl" else "right"), name
                        assert fact["launcher"] and fact["log"][1] > height / 3, name
                    else:
                        assert not fact["launcher"] and fact["log"][0] == width, name
        assert len(set(shots)) == len(shots), "two of the pictures are the same"


async def test_the_page_of_the_examples_shows_a_chatbot_that_answers(
    embedded_product: Product, shop: Shop, page: Page
) -> None:
    html = EXAMPLE.read_text()
    server = f"http://localhost:{urlsplit(embedded_product.url).port}"
    async with embedded_product.user(await embedded_product.new_tenant()) as user:
        await user.ready(pdf_of(*_WORDS["en"]["text"]))
        bot = await publish_bot(user, shop)
        for said, meant in (("http://localhost:8000", server), ("pub_…", bot.publishable_id)):
            assert html.count(f'"{said}') == 1
            html = html.replace(f'"{said}', f'"{meant}')
        shop.pages["/widget.html"] = html
        await page.go(shop.url("/widget.html"))
        answer, shown, questions = await page.run(
            script(
                """
                await there();
                const answered = new Promise((go) => DocuChat.on('answer', go));
                document.querySelector('#ask').click();
                const answer = await answered;
                await over();
                return [answer, words(), all('.question').map((it) => it.innerText)];
                """
            )
        )
        await picture(page, "example")
    assert "36 months" in answer["text"] and "36 months" in shown
    assert [it["page"] for it in answer["citations"]][:1] == [1]
    assert "36 months" in answer["citations"][0]["quote"]
    assert len(questions) == 1 and "How long is the warranty?" in questions[0]
