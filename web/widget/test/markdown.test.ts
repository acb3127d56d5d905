import assert from "node:assert/strict";
import { test } from "node:test";
import { type Block, directionOf, type Inline, parse, plainText } from "../src/markdown.ts";

const blocks = (text: string, open = false): Block[] => parse(text, open).map((part) => part.block);
const inline = (text: string, open = false): Inline[] => {
  const [block] = blocks(text, open);
  assert.ok(block && "children" in block);
  return block.children as Inline[];
};
const words = (text: string) => ({ type: "text", text });

test("paragraphs, headings, rules and code", () => {
  const found = blocks("# One\n\ntwo\nthree\n\n---\n\n```js\nlet a = '<b>';\n\n# no heading\n```\nfour");
  assert.deepEqual(
    found.map((block) => block.type),
    ["heading", "paragraph", "rule", "code", "paragraph"],
  );
  assert.deepEqual(found[1], { type: "paragraph", children: [words("two"), { type: "break" }, words("three")] });
  assert.deepEqual(found[3], { type: "code", text: "let a = '<b>';\n\n# no heading" });
});

test("bold, italics, code and what only looks like them", () => {
  assert.deepEqual(inline("a **b *c*** `d*` snake_case_name 2 * 3 * 4 \\*e\\*"), [
    words("a "),
    { type: "strong", children: [words("b "), { type: "emphasis", children: [words("c")] }] },
    words(" "),
    { type: "code", text: "d*" },
    words(" snake_case_name 2 * 3 * 4 *e*"),
  ]);
  assert.deepEqual(inline("**open"), [words("**open")]);
  assert.deepEqual(inline("**open", true), [{ type: "strong", children: [words("open")] }]);
});

test("citations, of links and images the words alone, and tags as text", () => {
  assert.deepEqual(inline("Yes [1][12]۳ [۲]. [a](https://x.example) ![b](data:x) <https://y.example>"), [
    words("Yes "),
    { type: "citation", number: 1 },
    { type: "citation", number: 12 },
    words("۳ "),
    { type: "citation", number: 2 },
    words(". a b https://y.example"),
  ]);
  const hostile = '<script>alert(1)</script> <img src=x onerror="alert(1)">';
  assert.deepEqual(inline(hostile), [words(hostile)]);
});

test("lists, nested and numbered, also with Persian digits", () => {
  const [bullets, numbers] = blocks("- a\n  - b\n    more\n- c\n\n۳. d\n۴. e");
  assert.ok(bullets?.type === "list" && numbers?.type === "list");
  assert.equal(bullets.items.length, 2);
  assert.equal(bullets.items[0]?.[1]?.type, "list");
  assert.deepEqual([numbers.ordered, numbers.start, numbers.items.length], [true, 3, 2]);
});

test("tables and quotes", () => {
  const [table, quote] = blocks("| a | b |\n|:--|--:|\n| 1 | **2** |\n| 3 |\n\n> c\n> - d");
  assert.ok(table?.type === "table" && quote?.type === "quote");
  assert.deepEqual(table.align, ["start", "end"]);
  assert.deepEqual(
    table.rows.map((row) => row.length),
    [2, 2],
  );
  assert.deepEqual(
    quote.children.map((child) => child.type),
    ["paragraph", "list"],
  );
  assert.equal(plainText([table]), "a, b.\n1, 2.\n3, .");
  assert.equal(plainText(blocks("It **lasts** a year [1]. Yes [2].")), "It lasts a year. Yes.");
});

test("blocks that are whole stay the same while more is written", () => {
  const text = "One **two**.\n\n- a\n- b\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\ncode\n```\n\nLast words.";
  const whole = parse(text);
  for (let end = 1; end <= text.length; end += 1) {
    const soFar = parse(text.slice(0, end), true);
    for (const [at, part] of soFar.slice(0, -1).entries()) {
      // all but the block that is being written, and the one that it may still join
      if (at < soFar.length - 2) assert.equal(part.source, whole[at]?.source);
    }
  }
});

test("the direction is the first letter's", () => {
  assert.equal(directionOf("۱۲ - سلام hello"), "rtl");
  assert.equal(directionOf("12 - hello سلام"), "ltr");
  assert.equal(directionOf("12 ..."), null);
});

test("hostile texts are parsed in time", () => {
  const texts = [
    "*a ",
    "**a ",
    "`",
    "[",
    "![",
    "[a](",
    "> ",
    "- ",
    "| ",
    "_a_",
    "~~",
    "<https://",
    "|-",
    " - \n",
    "***",
    "a|b\n",
  ];
  for (const text of texts) {
    const began = performance.now();
    parse(text.repeat(20_000 / text.length));
    parse(text.repeat(20_000 / text.length), true);
    assert.ok(performance.now() - began < 1500, JSON.stringify(text));
  }
  const nested = Array.from({ length: 400 }, (_, level) => `${"  ".repeat(level)}- ${">".repeat(level)} x`).join("\n");
  assert.ok(blocks(nested).length > 0);
});
