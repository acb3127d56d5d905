/**
 * Markdown of answers as a tree. Nothing of it is ever taken as HTML: tags stay text, addresses of links are left out.
 *
 * Each line and each character is looked at a bounded number of times, however hostile the text.
 */

export type Inline =
  | { type: "text"; text: string }
  | { type: "strong" | "emphasis" | "deleted"; children: Inline[] }
  | { type: "code"; text: string }
  | { type: "citation"; number: number }
  | { type: "break" };

export type Block =
  | { type: "paragraph"; children: Inline[] }
  | { type: "heading"; level: number; children: Inline[] }
  | { type: "code"; text: string }
  | { type: "list"; ordered: boolean; start: number; items: Block[][] }
  | { type: "quote"; children: Block[] }
  | { type: "table"; align: Align[]; head: Inline[][]; rows: Inline[][][] }
  | { type: "rule" };

export type Align = "start" | "center" | "end" | null;

/** A block of the top level, with its source: as long as that stays the same, so does what is shown of it. */
export interface Part {
  source: string;
  block: Block;
}

const MOST_LEVELS = 6;
const MOST_COLUMNS = 50;
const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const ITEM = /^( *)([-*+•]|\d{1,9}[.)]|[۰-۹]{1,9}[.)])[ \t]+/;
const QUOTE = /^ {0,3}> ?/;
const DIVIDER = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?$/;

/** Parse an answer, of which more may come when it is `open`: what it leaves unclosed is then closed at its end. */
export function parse(text: string, open = false): Part[] {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const parts: Part[] = [];
  let at = 0;
  while (at < lines.length) {
    const [block, next] = readBlock(lines, at, 0, open);
    if (block) {
      parts.push({ source: `${next >= lines.length && open ? "…" : ""}${lines.slice(at, next).join("\n")}`, block });
    }
    at = next;
  }
  return parts;
}

function readBlocks(lines: string[], level: number, open: boolean): Block[] {
  const blocks: Block[] = [];
  let at = 0;
  while (at < lines.length) {
    const [block, next] = readBlock(lines, at, level, open);
    if (block) blocks.push(block);
    at = next;
  }
  return blocks;
}

function readBlock(lines: string[], at: number, level: number, open: boolean): [Block | null, number] {
  const line = lines[at] ?? "";
  if (!line.trim()) return [null, at + 1];
  const fence = FENCE.exec(line)?.[1];
  if (fence) return readFence(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) {
    const words = line
      .slice(heading[0].length)
      .trim()
      .replace(/[ \t]#+$/, "");
    return [{ type: "heading", level: heading[1]?.length ?? 1, children: parseInline(words, open) }, at + 1];
  }
  if (RULE.test(line)) return [{ type: "rule" }, at + 1];
  if (level < MOST_LEVELS) {
    if (QUOTE.test(line)) return readQuote(lines, at, level, open);
    if (ITEM.test(line)) return readList(lines, at, level, open);
  }
  if (isTable(lines, at)) return readTable(lines, at, open);
  return readParagraph(lines, at, level, open);
}

function readFence(lines: string[], at: number, fence: string): [Block, number] {
  let next = at + 1;
  const isEnd = (line: string) => {
    const found = FENCE.exec(line)?.[1];
    return (found ?? "").startsWith(fence) && !line.trim().slice(found?.length).trim();
  };
  while (next < lines.length && !isEnd(lines[next] ?? "")) next += 1;
  return [{ type: "code", text: lines.slice(at + 1, next).join("\n") }, next + 1];
}

function readQuote(lines: string[], at: number, level: number, open: boolean): [Block, number] {
  let next = at;
  while (next < lines.length && QUOTE.test(lines[next] ?? "")) next += 1;
  const inner = lines.slice(at, next).map((line) => line.replace(QUOTE, ""));
  return [{ type: "quote", children: readBlocks(inner, level + 1, open) }, next];
}

function readList(lines: string[], at: number, level: number, open: boolean): [Block, number] {
  const first = ITEM.exec(lines[at] ?? "");
  const indent = first?.[1]?.length ?? 0;
  const marker = first?.[2] ?? "-";
  const ordered = isOrdered(marker);
  const items: string[][] = [];
  let next = at;
  while (next < lines.length) {
    const line = lines[next] ?? "";
    const item = ITEM.exec(line);
    const depth = item?.[1]?.length ?? 0;
    if (item && depth < indent) break;
    if (item && depth <= indent + 1) {
      if (isOrdered(item[2] ?? "") !== ordered || RULE.test(line)) break;
      items.push([line.slice(item[0].length)]);
    } else if (!line.trim()) {
      const follows = lines[next + 1] ?? "";
      const goesOn = ITEM.test(follows) || leading(follows) > indent + 1;
      if (!follows.trim() || !goesOn) break;
      items.at(-1)?.push("");
    } else if (leading(line) > indent || (lines[next - 1] ?? "").trim()) {
      if (leading(line) <= indent && (HEADING.test(line) || FENCE.test(line) || QUOTE.test(line))) break;
      items.at(-1)?.push(line.slice(Math.min(leading(line), indent + 2)));
    } else break;
    next += 1;
  }
  const start = ordered ? Number.parseInt(toLatin(marker), 10) : 1;
  return [{ type: "list", ordered, start, items: items.map((item) => readBlocks(item, level + 1, open)) }, next];
}

function isTable(lines: string[], at: number): boolean {
  const head = lines[at] ?? "";
  const divider = (lines[at + 1] ?? "").trim();
  return head.includes("|") && divider.includes("-") && DIVIDER.test(divider) && /[|:]/.test(divider);
}

function readTable(lines: string[], at: number, open: boolean): [Block, number] {
  const head = cells(lines[at] ?? "");
  const align = cells(lines[at + 1] ?? "").map(alignment);
  let next = at + 2;
  const rows: Inline[][][] = [];
  while (next < lines.length && (lines[next] ?? "").trim() && (lines[next] ?? "").includes("|")) {
    const row = cells(lines[next] ?? "").slice(0, head.length);
    rows.push(head.map((_, place) => parseInline(row[place] ?? "", open)));
    next += 1;
  }
  return [{ type: "table", align, head: head.map((cell) => parseInline(cell, open)), rows }, next];
}

function readParagraph(lines: string[], at: number, level: number, open: boolean): [Block, number] {
  let next = at + 1;
  while (next < lines.length) {
    const line = lines[next] ?? "";
    const isNested = level < MOST_LEVELS && (QUOTE.test(line) || ITEM.test(line));
    if (!line.trim() || FENCE.test(line) || HEADING.test(line) || RULE.test(line) || isNested || isTable(lines, next)) {
      break;
    }
    next += 1;
  }
  const text = lines
    .slice(at, next)
    .map((line) => line.trim())
    .join("\n");
  return [{ type: "paragraph", children: parseInline(text, open) }, next];
}

function cells(line: string): string[] {
  const row = line.trim().replace(/^\|/, "");
  const found: string[] = [];
  let cell = "";
  for (let at = 0; at < row.length && found.length < MOST_COLUMNS; at += 1) {
    if (row[at] === "\\" && row[at + 1] === "|") {
      cell += "|";
      at += 1;
    } else if (row[at] === "|") {
      found.push(cell.trim());
      cell = "";
    } else cell += row[at];
  }
  if (cell.trim()) found.push(cell.trim());
  return found;
}

function alignment(cell: string): Align {
  if (cell.startsWith(":")) return cell.endsWith(":") ? "center" : "start";
  return cell.endsWith(":") ? "end" : null;
}

const leading = (line: string) => line.length - line.trimStart().length;
const isOrdered = (marker: string) => /^[\d۰-۹]/.test(marker);
const toLatin = (digits: string) => digits.replace(/[۰-۹]/g, (digit) => String(digit.charCodeAt(0) - 0x6f0));

const PAIRS: [string, "strong" | "emphasis" | "deleted"][] = [
  ["**", "strong"],
  ["__", "strong"],
  ["~~", "deleted"],
  ["*", "emphasis"],
  ["_", "emphasis"],
];
const SPECIAL = /[\\`*_~[!<\n]/g;
const CITATION = /\[(\d{1,3}|[۰-۹]{1,3})\](?!\()/y;
const LINK = /!?\[([^[\]\n]{0,500})\]\([^()\n]{0,2000}\)/y;
const ADDRESS = /<((?:https?:\/\/|mailto:)[^<>\s]{1,2000})>/y;
const ESCAPED = /[!-/:-@[-`{-~]/;
const WORD = /[\p{L}\p{N}]/u;

/** Parse the words of one block. */
export function parseInline(text: string, open = false, level = 0): Inline[] {
  const found: Inline[] = [];
  const unclosed = new Set<string>();
  let plain = "";
  let at = 0;
  const add = (inline: Inline, next: number) => {
    if (plain) found.push({ type: "text", text: plain });
    plain = "";
    found.push(inline);
    at = next;
  };
  const match = (pattern: RegExp) => {
    pattern.lastIndex = at;
    return pattern.exec(text);
  };
  while (at < text.length) {
    SPECIAL.lastIndex = at;
    const stop = SPECIAL.exec(text)?.index ?? text.length;
    plain += text.slice(at, stop);
    at = stop;
    if (at >= text.length) break;
    const character = text[at] ?? "";
    if (character === "\n") {
      add({ type: "break" }, at + 1);
    } else if (character === "\\" && ESCAPED.test(text[at + 1] ?? "")) {
      plain += text[at + 1];
      at += 2;
    } else if (character === "`") {
      readCode();
    } else if (!readReference(character) && (level >= MOST_LEVELS || !readPair())) {
      plain += character;
      at += 1;
    }
  }
  if (plain) found.push({ type: "text", text: plain });
  return found;

  /** A citation, or the words of a link whose address is left out. */
  function readReference(character: string): boolean {
    const citation = character === "[" ? match(CITATION) : null;
    if (citation) {
      add({ type: "citation", number: Number.parseInt(toLatin(citation[1] ?? ""), 10) }, at + citation[0].length);
      return true;
    }
    const link = "[!".includes(character) ? match(LINK) : character === "<" ? match(ADDRESS) : null;
    if (!link) return false;
    plain += link[1];
    at += link[0].length;
    return true;
  }

  function readCode(): void {
    let marks = 1;
    while (text[at + marks] === "`") marks += 1;
    const mark = "`".repeat(marks);
    const end = unclosed.has(mark) ? -1 : text.indexOf(mark, at + marks);
    if (end < 0 && !(open && marks === 1)) {
      unclosed.add(mark);
      plain += mark;
      at += marks;
      return;
    }
    const inside = text.slice(at + marks, end < 0 ? text.length : end);
    const isPadded = inside.startsWith(" ") && inside.endsWith(" ") && inside.trim();
    add({ type: "code", text: isPadded ? inside.slice(1, -1) : inside }, end < 0 ? text.length : end + marks);
  }

  function readPair(): boolean {
    for (const [mark, type] of PAIRS) {
      if (!text.startsWith(mark, at) || unclosed.has(mark)) continue;
      const begin = at + mark.length;
      const isInWord = mark.startsWith("_") && WORD.test(text[at - 1] ?? "");
      if (isInWord || !(text[begin] ?? "").trim()) continue;
      const end = closing(mark, begin);
      const isLeftOpen = end < 0 && open && mark === "**";
      if (end < 0) unclosed.add(mark);
      if (end < 0 && !isLeftOpen) continue;
      const inside = text.slice(begin, end < 0 ? text.length : end);
      add({ type, children: parseInline(inside, open, level + 1) }, end < 0 ? text.length : end + mark.length);
      return true;
    }
    return false;
  }

  function closing(mark: string, begin: number): number {
    for (let end = text.indexOf(mark, begin + 1); end >= 0; end = text.indexOf(mark, end + 1)) {
      const isOfLonger = mark.length === 1 && (text[end + 1] === mark || text[end - 1] === mark);
      const isInWord = mark.startsWith("_") && WORD.test(text[end + mark.length] ?? "");
      if ((text[end - 1] ?? "").trim() && !isOfLonger && !isInWord) {
        // of `***` the last two close what two began
        return mark.length === 2 && text[end + 2] === mark[0] && text[end + 3] !== mark[0] ? end + 1 : end;
      }
    }
    return -1;
  }
}

const STRONG = /(?<rtl>[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc])|\p{L}/u;

/** The direction of a text, by its first letter as `dir="auto"` finds it; null where it has none. */
export function directionOf(text: string): "rtl" | "ltr" | null {
  const first = STRONG.exec(text);
  return first && (first.groups?.rtl ? "rtl" : "ltr");
}

/** The words of an answer without its marks, as they are read aloud. */
export function plainText(blocks: Block[]): string {
  return blocks.map(wordsOf).join("\n");
}

function wordsOf(block: Block): string {
  switch (block.type) {
    case "paragraph":
    case "heading":
      return inlineText(block.children);
    case "code":
      return block.text;
    case "list":
      return block.items.map(plainText).join("\n");
    case "quote":
      return plainText(block.children);
    case "table":
      return [block.head, ...block.rows].map((row) => `${row.map(inlineText).join(", ")}.`).join("\n");
    case "rule":
      return "";
  }
}

function inlineText(children: Inline[]): string {
  return children
    .map((child) => {
      if (child.type === "text" || child.type === "code") return child.text;
      if (child.type === "citation") return "";
      return child.type === "break" ? "\n" : inlineText(child.children);
    })
    .join("")
    .replace(/ +(?=[.,;:!?؟،؛])/g, "");
}
