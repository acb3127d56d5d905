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
  return children.map((child) => {
    switch (child.type) {
      case "text":
        return document.createTextNode(child.text);
      case "break":
        return make("br");
      case "code":
        return make("code", { dir: "auto" }, child.text);
      case "citation":
        return cite(child.number) ?? document.createTextNode(`[${child.number}]`);
      default:
        return make(TAGS[child.type], {}, ...renderInline(child.children, cite));
    }
  });
}
