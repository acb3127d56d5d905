/**
 * The widget's looks. They live in a constructed sheet of the shadow tree: the page's rules do not reach in, these do
 * not reach out, and a content security policy without 'unsafe-inline' has nothing to object to.
 */

export const STYLES = `
:host { all: initial !important; display: block !important; position: fixed !important; inset: auto !important;
  width: 0 !important; height: 0 !important; z-index: 2147483000 !important; }
/* what is open stands before the launchers of other chatbots */
:host(.opened) { z-index: 2147483001 !important; }
@media print { :host { display: none !important; } }
*, *::before, *::after { box-sizing: border-box; }
[hidden] { display: none !important; }
.root { color: var(--text); font: 400 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Vazirmatn", "Noto Sans",
  "Noto Naskh Arabic", Tahoma, "DejaVu Sans", sans-serif; text-align: start; -webkit-text-size-adjust: 100%;
  -webkit-font-smoothing: antialiased; }
.root[lang|=fa] { font-family: "Vazirmatn", "Vazir", system-ui, "Segoe UI", "Noto Sans Arabic", Tahoma, "DejaVu Sans",
  sans-serif; line-height: 1.75; }
.dark { color-scheme: dark; }
.light { color-scheme: light; }
p, h2, h3, h4, ul, ol, pre, blockquote, figure { margin: 0; padding: 0; }
button, textarea { font: inherit; color: inherit; letter-spacing: inherit; margin: 0; }
button { background: none; border: 0; padding: 0; cursor: pointer; text-align: inherit;
  -webkit-tap-highlight-color: transparent; }
:focus { outline: none; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
.icon { width: 20px; height: 20px; fill: none; stroke: currentColor; stroke-width: 1.75; stroke-linecap: round;
  stroke-linejoin: round; display: block; flex: none; }
.unseen { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }

.launcher { position: fixed; bottom: max(20px, env(safe-area-inset-bottom)); width: 56px; height: 56px;
  border-radius: 50%; display: grid; place-items: center; background: var(--accent); color: var(--on-accent);
  box-shadow: 0 1px 2px rgb(0 0 0 / .18), 0 8px 24px rgb(0 0 0 / .2); transition: transform .16s ease, box-shadow .16s; }
.launcher:hover { transform: translateY(-2px); box-shadow: 0 2px 4px rgb(0 0 0 / .18), 0 12px 30px rgb(0 0 0 / .26); }
.launcher:active { transform: scale(.96); }
.launcher:focus-visible { outline: 3px solid var(--on-accent); outline-offset: -6px; }
.launcher .icon { width: 26px; height: 26px; grid-area: 1 / 1; transition: opacity .16s, transform .2s; }
.launcher .icon-down { opacity: 0; transform: rotate(-60deg) scale(.6); }
.launcher[aria-expanded=true] .icon-down { opacity: 1; transform: none; }
.launcher[aria-expanded=true] .icon-chat { opacity: 0; transform: rotate(60deg) scale(.6); }
.right .panel { right: max(20px, env(safe-area-inset-right)); }
.left .panel { left: max(20px, env(safe-area-inset-left)); }
/* launchers of several chatbots stand side by side */
.right .launcher { right: calc(max(20px, env(safe-area-inset-right)) + var(--nth, 0) * 68px); }
.left .launcher { left: calc(max(20px, env(safe-area-inset-left)) + var(--nth, 0) * 68px); }

.panel { position: fixed; bottom: calc(max(20px, env(safe-area-inset-bottom)) + 70px); width: min(408px, calc(100vw - 40px));
  height: min(660px, calc(100vh - 110px)); height: min(660px, calc(100dvh - 110px)); display: flex; flex-direction: column;
  background: var(--background); border-radius: 18px; overflow: hidden; overscroll-behavior: contain;
  box-shadow: 0 0 0 1px var(--line), 0 2px 6px rgb(0 0 0 / .06), 0 20px 60px rgb(0 0 0 / .22);
  animation: rise .2s cubic-bezier(.2, .9, .3, 1); }
@keyframes rise { from { opacity: 0; transform: translateY(14px) scale(.985); } }
.head { display: flex; align-items: center; gap: 10px; padding: 12px 14px; border-bottom: 1px solid var(--line); }
.mark { width: 36px; height: 36px; border-radius: 11px; display: grid; place-items: center; flex: none;
  background: var(--accent); color: var(--on-accent); }
.names { flex: 1; min-width: 0; line-height: 1.3; }
.names h2 { font-size: 15px; font-weight: 650; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; line-height: 1.4; }
.names p { font-size: 12.5px; color: var(--muted); white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.tool { width: 36px; height: 36px; border-radius: 10px; display: grid; place-items: center; color: var(--muted); flex: none; }
.tool:hover { background: var(--soft); color: var(--text); }
.tool[disabled] { opacity: .4; cursor: default; }

.middle { position: relative; flex: 1; min-height: 0; display: flex; }
.log { flex: 1; overflow-y: auto; overflow-x: hidden; overscroll-behavior: contain; padding: 18px 16px 10px;
  scrollbar-width: thin; scrollbar-color: var(--line) transparent; }
.log:focus-visible { outline-offset: -3px; border-radius: 4px; }
.newest { position: absolute; bottom: 10px; left: 50%; width: 36px; height: 36px; margin-left: -18px; border-radius: 50%;
  display: grid; place-items: center; background: var(--background); color: var(--text);
  box-shadow: 0 0 0 1px var(--line), 0 4px 14px rgb(0 0 0 / .16); }
.greeting { white-space: pre-line; overflow-wrap: anywhere; }
.suggestions { display: flex; flex-direction: column; align-items: flex-start; gap: 8px; margin: 16px 0 6px; list-style: none; }
.suggestions button { padding: 8px 13px; border-radius: 14px; border: 1px solid var(--line); font-size: 14px;
  line-height: 1.45; color: var(--link); background: var(--background); overflow-wrap: anywhere; transition: background .12s; }
.suggestions button:hover { background: var(--tint); color: var(--on-tint); border-color: transparent; }
.question { margin: 20px 0 14px; margin-inline-start: 44px; display: flex; justify-content: flex-end; }
.question div { background: var(--accent); color: var(--on-accent); padding: 8px 14px; border-radius: 17px;
  border-end-end-radius: 5px; min-width: 0; }
.question p { white-space: pre-wrap; overflow-wrap: anywhere; }
.answer { margin: 14px 0; overflow-wrap: anywhere; }

.words > * + * { margin-top: 10px; }
.words h3 { font-size: 16px; font-weight: 650; }
.words h4 { font-size: 15px; font-weight: 650; }
.words > h3, .words > h4 { margin-top: 16px; }
.words > :first-child { margin-top: 0; }
.words ul, .words ol { padding-inline-start: 24px; }
.root[lang|=fa] ol { list-style-type: persian; }
.words li + li { margin-top: 4px; }
.words li::marker { color: var(--muted); }
.words li > p, .words li > ul, .words li > ol { margin-top: 4px; }
.words code { font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; background: var(--soft);
  border-radius: 5px; padding: 1px 5px; }
.words pre { background: var(--soft); border-radius: 10px; padding: 11px 13px; overflow: auto; max-height: 340px; text-align: left; }
.words pre code { background: none; padding: 0; white-space: pre; overflow-wrap: normal; }
.words blockquote { border-inline-start: 3px solid var(--line); padding-inline-start: 12px; color: var(--muted); }
.words hr { border: 0; border-top: 1px solid var(--line); }
.words strong { font-weight: 650; }
.table { overflow: auto; max-height: 420px; border: 1px solid var(--line); border-radius: 10px; }
.table table { border-collapse: collapse; font-size: 13.5px; min-width: 100%; }
.table th, .table td { padding: 6px 11px; text-align: start; vertical-align: top; border-bottom: 1px solid var(--line);
  overflow-wrap: normal; min-width: 56px; max-width: 280px; }
.table td { overflow-wrap: break-word; }
.table tr:last-child td { border-bottom: 0; }
.table th { background: var(--soft); font-weight: 600; }
.table .center { text-align: center; }
.table .end { text-align: end; }
.writing > :last-child:not(ul, ol, .table, pre)::after, .writing > ul:last-child > li:last-child::after,
.writing > ol:last-child > li:last-child::after { content: ""; display: inline-block; width: 7px; height: 14px;
  margin-inline-start: 4px; border-radius: 2px; vertical-align: -2px; background: var(--accent); animation: blink 1s steps(2) infinite; }
@keyframes blink { 50% { opacity: 0; } }
.held { white-space: nowrap; }
.cite { display: inline-grid; place-items: center; min-width: 18px; height: 18px; padding: 0 4px; margin-inline: 2px 1px;
  border-radius: 6px; font-size: 11.5px; font-weight: 600; line-height: 1; vertical-align: 1.5px; background: var(--tint);
  color: var(--on-tint); position: relative; }
button.cite::after { content: ""; position: absolute; inset: -4px -3px; }
button.cite:hover, button.cite[aria-expanded=true] { background: var(--accent); color: var(--on-accent); }

.searching { display: flex; align-items: center; gap: 10px; color: var(--muted); font-size: 14px; }
.dots { display: flex; gap: 4px; }
.dots i { width: 6px; height: 6px; border-radius: 50%; background: var(--accent); animation: bounce 1.1s infinite ease-in-out; }
.dots i:nth-child(2) { animation-delay: .14s; }
.dots i:nth-child(3) { animation-delay: .28s; }
@keyframes bounce { 0%, 60%, 100% { opacity: .35; transform: none; } 30% { opacity: 1; transform: translateY(-3px); } }
.remark { margin-top: 8px; font-size: 13px; color: var(--muted); }
.trouble { display: flex; align-items: flex-start; gap: 9px; margin-top: 10px; padding: 10px 12px; border-radius: 12px;
  background: var(--soft); font-size: 14px; }
.trouble .icon { color: var(--danger); margin-top: 1px; }
.trouble div { flex: 1; min-width: 0; }
.link { color: var(--link); font-weight: 600; text-decoration: underline; text-underline-offset: 3px; }
.trouble .link { display: block; margin-top: 4px; }

.sources { margin-top: 12px; }
.sources h3 { font-size: 12.5px; font-weight: 600; color: var(--muted); margin-bottom: 6px; }
.sources ol { list-style: none; display: flex; flex-direction: column; gap: 6px; }
.source { border: 1px solid var(--line); border-radius: 11px; overflow: hidden; }
.source > button { display: flex; align-items: center; gap: 9px; width: 100%; padding: 7px 10px; font-size: 13.5px; line-height: 1.4; }
.source > button:hover { background: var(--soft); }
.source > button:focus-visible { outline-offset: -2px; border-radius: 11px; }
.source .number { min-width: 20px; height: 20px; padding: 0 4px; border-radius: 6px; display: grid; place-items: center;
  background: var(--tint); color: var(--on-tint); font-size: 12px; font-weight: 600; flex: none; line-height: 1; }
.source .name { flex: 1; min-width: 0; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.source .place { color: var(--muted); font-size: 12.5px; white-space: nowrap; flex: none; }
.source .icon { width: 16px; height: 16px; color: var(--muted); transition: transform .16s; }
.source > button[aria-expanded=true] .icon { transform: rotate(180deg); }
.source > button[aria-expanded=true] .name { white-space: normal; overflow-wrap: anywhere; }
.quote { padding: 2px 12px 11px; font-size: 13.5px; line-height: 1.6; }
.quote blockquote { border-inline-start: 3px solid var(--accent); padding-inline-start: 10px; white-space: pre-line;
  max-height: 220px; overflow: auto; }

.acts { display: flex; align-items: center; gap: 2px; margin-top: 8px; margin-inline-start: -6px; min-height: 30px; }
.acts .tool { width: 30px; height: 30px; border-radius: 8px; }
.acts .icon { width: 16px; height: 16px; }
.acts .tool[aria-pressed=true] { color: var(--link); }
.acts .tool[aria-pressed=true] .icon { fill: var(--tint); }
.acts .said { font-size: 13px; color: var(--muted); margin-inline-start: 6px; }
.why { margin-top: 8px; padding: 12px; border-radius: 13px; background: var(--soft); border: 0; min-width: 0; }
.why h3 { font-size: 14px; font-weight: 600; margin-bottom: 8px; }
.reasons { display: flex; flex-wrap: wrap; gap: 6px; }
.reasons button { padding: 4px 11px; border-radius: 14px; border: 1px solid var(--edge); font-size: 13px; background: var(--background); }
.reasons button[aria-pressed=true] { background: var(--accent); color: var(--on-accent); border-color: var(--accent); }
.why textarea { display: block; width: 100%; margin: 10px 0; padding: 7px 10px; border: 1px solid var(--edge); border-radius: 10px;
  background: var(--background); resize: none; font-size: 14px; }
.row { display: flex; gap: 8px; align-items: center; }
.button { padding: 5px 14px; border-radius: 10px; background: var(--accent); color: var(--on-accent); font-size: 14px; font-weight: 600; }
.button.quiet { background: none; color: var(--muted); font-weight: 400; }

.state { padding: 7px 16px; font-size: 13px; background: var(--soft); color: var(--text); border-top: 1px solid var(--line); }
.foot { padding: 10px 12px 8px; }
.box { display: flex; align-items: flex-end; gap: 6px; border: 1px solid var(--edge); border-radius: 16px; padding: 5px;
  padding-inline-start: 13px; background: var(--background); transition: border-color .12s, box-shadow .12s; }
.box:focus-within { border-color: var(--link); box-shadow: 0 0 0 1px var(--link); }
.box textarea { flex: 1; min-width: 0; border: 0; background: none; resize: none; padding: 5px 0; font-size: 15px; line-height: 1.5;
  overflow: hidden; outline: none; scrollbar-width: thin; }
textarea::placeholder { color: var(--muted); opacity: 1; }
.go { width: 34px; height: 34px; border-radius: 11px; display: grid; place-items: center; flex: none; background: var(--accent);
  color: var(--on-accent); transition: opacity .12s; }
.go[aria-disabled=true] { background: var(--soft); color: var(--muted); cursor: default; }
.go .icon-stop { fill: currentColor; width: 18px; height: 18px; }
.powered { text-align: center; font-size: 11.5px; line-height: 1.4; color: var(--muted); padding-top: 7px; }
.words ::selection, .question ::selection { background: var(--tint); color: var(--on-tint); }

@media (max-height: 480px) {
  .panel { bottom: 8px; height: calc(100vh - 16px); height: calc(100dvh - 16px); }
  .opened .launcher, .powered, .names p { display: none; }
  .head { padding: 4px 12px; }
  .foot { padding: 6px 10px; }
}
@media (max-width: 480px) {
  .panel, .right .panel, .left .panel { inset: 0; width: auto; height: var(--seen, 100dvh); border-radius: 0; box-shadow: none;
    padding: env(safe-area-inset-top) env(safe-area-inset-right) env(safe-area-inset-bottom) env(safe-area-inset-left); }
  .opened .launcher { display: none; }
  .box textarea, .why textarea { font-size: 16px; }
  .tool { width: 40px; height: 40px; }
}
@media (prefers-reduced-motion: reduce) {
  *, *::before, *::after { animation: none !important; transition: none !important; }
  .dots i { opacity: 1; }
}
@media (forced-colors: active) {
  .panel, .launcher, .question div, .go, .cite, .button { border: 1px solid CanvasText; }
}
`;

let sheet: CSSStyleSheet | undefined;

/** The one sheet that all widgets of a page share. */
export function styleSheet(): CSSStyleSheet {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLES);
  }
  return sheet;
}
