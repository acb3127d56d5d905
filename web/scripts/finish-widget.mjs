// Takes over what Vite built, when it is what may be served: one file, within its budget, with its version ahead.
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const BUDGET = 30 * 1024;

const folder = new URL("../widget/", import.meta.url);
const { version } = JSON.parse(readFileSync(new URL("package.json", folder), "utf8"));
const built = new URL("build/", folder);
const files = readdirSync(built);
if (files.length !== 1 || files[0] !== "widget.js") {
  throw new Error(`the widget is one file, widget.js; Vite wrote ${files.join(", ")}`);
}
const script = `/*! DocuChat widget ${version} */\n${readFileSync(new URL("widget.js", built), "utf8").trimEnd()}\n`;
const size = gzipSync(script, { level: 9 }).length;
if (size >= BUDGET) {
  throw new Error(`the widget has ${size} bytes gzipped; its budget is ${BUDGET}`);
}
const target = new URL("dist/", folder);
mkdirSync(target, { recursive: true });
// renamed, so that a gateway that starts meanwhile reads the old file or the new one, whole
writeFileSync(new URL("widget.js.new", target), script);
renameSync(new URL("widget.js.new", target), new URL("widget.js", target));
console.log(`widget ${version}: ${size} bytes gzipped of ${BUDGET}`);
