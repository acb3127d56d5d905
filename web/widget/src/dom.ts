/** Elements made by hand: text only ever becomes text. */

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | null | undefined | ((event: never) => void)>;

/** Make an element. Names that begin with `on` are listeners; `false` and null leave an attribute out. */
export function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value as EventListener);
    else set(element, name, value);
  }
  element.append(
    ...children.filter((child): child is Node | string => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** Set an attribute; `true` sets it empty, `false` and null take it away. */
export function set(element: Element, name: string, value: string | number | boolean | null | undefined): void {
  if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : String(value));
}

/** Give a field the direction of what is typed; an empty one has no first letter, and takes that of the layout. */
export function direct(field: HTMLTextAreaElement, direction: "ltr" | "rtl"): void {
  set(field, "dir", field.value ? "auto" : direction);
}

const SVG = "http://www.w3.org/2000/svg";

/** Draw an icon from its lines, which a stylesheet strokes. */
export function icon(name: keyof typeof ICONS): SVGSVGElement {
  const drawing = document.createElementNS(SVG, "svg");
  for (const [key, value] of [
    ["viewBox", "0 0 24 24"],
    ["aria-hidden", "true"],
    ["focusable", "false"],
    ["class", `icon icon-${name}`],
  ] as const) {
    drawing.setAttribute(key, value);
  }
  for (const line of ICONS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", line);
    drawing.append(path);
  }
  return drawing;
}

const ICONS = {
  chat: [
    "M21 11.5a8.4 8.4 0 0 1-8.9 8.3 9.6 9.6 0 0 1-3.6-.8L3.5 20.5l1.4-4.2A7.8 7.8 0 0 1 3.3 11.5a8.4 8.4 0 0 1 8.8-8.3 8.4 8.4 0 0 1 8.9 8.3Z",
  ],
  down: ["m6 9.5 6 6 6-6"],
  close: ["M18 6 6 18", "m6 6 12 12"],
  fresh: ["M12 20h8.5", "M16.2 3.9a2.1 2.1 0 0 1 3 3L7.5 18.6 3.5 19.7l1-4.1Z"],
  send: ["M12 19.5V5", "m5.5 11.2 6.5-6.5 6.5 6.5"],
  stop: ["M7.5 7.5h9v9h-9z"],
  up: [
    "M7.2 10.8v9.4H4.1a1 1 0 0 1-1-1v-7.4a1 1 0 0 1 1-1Z",
    "m7.2 10.8 3.9-7.4a2.5 2.5 0 0 1 2.4 3.1l-.8 3.2h5.6a2 2 0 0 1 2 2.4l-1.3 6.4a2 2 0 0 1-2 1.7H7.2",
  ],
  unhelpful: [
    "M16.8 13.2V3.8h3.1a1 1 0 0 1 1 1v7.4a1 1 0 0 1-1 1Z",
    "m16.8 13.2-3.9 7.4a2.5 2.5 0 0 1-2.4-3.1l.8-3.2H5.7a2 2 0 0 1-2-2.4L5 5.5a2 2 0 0 1 2-1.7h9.8",
  ],
  copy: ["M9 9h11v11H9z", "M5.5 15H4V4h11v1.5"],
  done: ["m5 12.5 4.5 4.5L19 7.5"],
  warning: [
    "M12 8.5v4.5",
    "M12 16.2v.1",
    "M10.4 4 2.9 17.2A1.9 1.9 0 0 0 4.5 20h15a1.9 1.9 0 0 0 1.6-2.8L13.6 4a1.9 1.9 0 0 0-3.2 0Z",
  ],
  again: ["M4 11a8 8 0 1 1 1.6 5.8", "M4 4.5V11h6.5"],
} as const;
