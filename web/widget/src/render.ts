/** What an answer says, as nodes of the page. */

import { make } from "./dom.ts";
import { type Block, directionOf, type Inline, type Part, parse, plainText } from "./markdown.ts";

/** Makes what stands for `[n]` in the text; null where nothing is cited so, and the text stays as it was written. */
export type Cite = (number: number) => Node | null;

/** Shows a text that grows: of what is there already only the blocks that changed are made anew. */
export class Rendering {
  private shown: string[] = [];
  private readonly root: HTMLElement;
  private readonly cite: Cite;

  constructor(root: HTMLElement, cite: Cite) {
    this.root = root;
    this.cite = cite;
  }

  /** Show a text, of which more may come when it is `open`. Everything is made anew when `fresh`. */
  show(text: string, open: boolean, fresh = false): Part[] {
    const parts = parse(text, open);
    let same = 0;
    while (!fresh && same < parts.length && this.shown[same] === parts[same]?.source) same += 1;
    while (this.root.childNodes.length > same) this.root.lastChild?.remove();
    for (const part of parts.slice(same)) this.root.append(renderBlock(part.block, this.cite));
    this.shown = parts.map((part) => part.source);
    return parts;
  }
}

function renderBlock(block: Block, cite: Cite): Node {
  // `auto` looks past elements that have a direction of their own: what holds such is told its own
  const dir = () => directionOf(plainText([block]));
  switch (block.type) {
    case "paragraph":
      return make("p", { dir: "auto" }, ...renderInline(block.children, cite));
    case "heading":
      // under the panel's own heading, and never of a size that shouts
      return make(block.level < 3 ? "h3" : "h4", { dir: "auto" }, ...renderInline(block.children, cite));
    case "code":
      return make("pre", { dir: "ltr", tabindex: 0 }, make("code", {}, block.text));
    case "rule":
      return make("hr");
    case "quote":
      return make("blockquote", { dir: dir() }, ...block.children.map((child) => renderBlock(child, cite)));
    case "list": {
      const items = block.items.map((item) => make("li", {}, ...renderItem(item, cite)));
      if (!block.ordered) return make("ul", { dir: dir() }, ...items);
      return make("ol", { dir: dir(), start: block.start === 1 ? null : block.start }, ...items);
    }
    case "table":
      return renderTable(block, dir(), cite);
  }
}

/** A paragraph alone in an item needs no element, so that short items stand close. */
function renderItem(item: Block[], cite: Cite): Node[] {
  const nodes: Node[] = [];
  for (const block of item) {
    if (block.type === "paragraph" && block === item[0]) nodes.push(...renderInline(block.children, cite));
    else nodes.push(renderBlock(block, cite));
  }
  return nodes;
}

function renderTable(block: Extract<Block, { type: "table" }>, dir: string | null, cite: Cite): Node {
  const row = (cells: Inline[][], tag: "th" | "td") =>
    make(
      "tr",
      {},
      ...cells.map((cell, place) =>
        make(tag, { class: block.align[place] ?? null, scope: tag === "th" && "col" }, ...renderInline(cell, cite)),
      ),
    );
  const table = make("table", { dir }, make("thead", {}, row(block.head, "th")));
  table.append(make("tbody", {}, ...block.rows.map((cells) => row(cells, "td"))));
  return make("div", { class: "table", tabindex: 0, dir }, table);
}

const TAGS = { strong: "strong", emphasis: "em", deleted: "del" } as const;

function renderInline(children: Inline[], cite: Cite): Node[] {
  const nodes: Node[] = [];
  for (const child of children) {
    switch (child.type) {
      case "text":
        nodes.push(document.createTextNode(child.text));
        break;
      case "break":
        nodes.push(make("br"));
        break;
      case "code":
        nodes.push(make("code", { dir: "auto" }, child.text));
        break;
      case "citation": {
        const mark = cite(child.number);
        if (mark) hold(nodes, mark);
        else nodes.push(document.createTextNode(`[${child.number}]`));
        break;
      }
      default:
        nodes.push(make(TAGS[child.type], {}, ...renderInline(child.children, cite)));
    }
  }
  return nodes;
}

/** Put a mark on the line of the short word that it follows. */
function hold(nodes: Node[], mark: Node): void {
  const before = nodes.at(-1);
  const word = before instanceof Text && /(?<!\S)\S{1,16} ?$/.exec(before.data)?.[0];
  if (!word) {
    nodes.push(mark);
    return;
  }
  before.data = before.data.slice(0, -word.length);
  nodes.push(make("span", { class: "held" }, word, mark));
}
