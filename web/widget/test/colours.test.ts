import assert from "node:assert/strict";
import { test } from "node:test";
import { contrast, palette } from "../src/colours.ts";

type Rgb = [number, number, number];
const rgb = (value: string | undefined) => (value?.match(/\d+/g) ?? []).map(Number) as Rgb;

test("whatever a chatbot's colours are, its words can be read by day and by night", () => {
  const shades = ["#000000", "#ffffff", "#ffff00", "#1a73e8", "#777777", "#ff0000", "#0b7a5b", "#f0f0f0", "#123"];
  for (const accent of shades) {
    for (const background of [null, ...shades]) {
      for (const text of [null, "#000000", "#ffffff", "#888888"]) {
        for (const isDark of [true, false]) {
          const of = palette({ accent, background, text }, isDark);
          const pairs: [string, string, number][] = [
            ["text", "background", 4.5],
            ["muted", "background", 4.5],
            ["muted", "soft", 4.5],
            ["text", "soft", 4.5],
            ["link", "background", 4.5],
            ["link", "soft", 4.5],
            ["on-accent", "accent", 4.5],
            ["on-tint", "tint", 4.5],
            ["accent", "background", 3],
            ["edge", "background", 3],
          ];
          for (const [one, other, least] of pairs) {
            const found = contrast(rgb(of[one]), rgb(of[other]));
            assert.ok(found >= least, `${one} on ${other}: ${found} of ${accent} ${background} ${text} ${isDark}`);
          }
        }
      }
    }
  }
});
