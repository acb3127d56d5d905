/** What a page asks of its widget: attributes of the script tag, and `DocuChat.configure`. */

import { isLabel, type Labels } from "./labels.ts";

export interface Options {
  /** The chatbot's publishable id. */
  chatbot: string;
  /** A language tag, such as `fa`; without it the chatbot's, the page's or the browser's. */
  language?: string | undefined;
  position?: "left" | "right" | undefined;
  theme?: "light" | "dark" | undefined;
  /** Open at once, where the visitor did not close it before. */
  open?: boolean | undefined;
  labels: Partial<Labels>;
}

/** The options in the `data-…` attributes of a script tag. */
export function readOptions(data: DOMStringMap): Options {
  const labels: Partial<Labels> = {};
  for (const [name, value] of Object.entries(data)) {
    if (!name.startsWith("label") || value === undefined) continue;
    const label = name.charAt(5).toLowerCase() + name.slice(6);
    if (isLabel(label)) labels[label] = value;
  }
  return {
    chatbot: (data.chatbot ?? "").trim(),
    language: data.language || undefined,
    position: data.position === "left" || data.position === "right" ? data.position : undefined,
    theme: data.theme === "light" || data.theme === "dark" ? data.theme : undefined,
    open: data.open !== undefined && data.open !== "false",
    labels,
  };
}
