// A front end and people in Chromium. Arguments: the browser, the front end's port, where a sign-in begins, the gateway.
// Prints what happened, as JSON.
import { createServer } from 'node:http';
import { chromium } from 'playwright-core';

const [executablePath, port, startUrl, gateway] = process.argv.slice(2);
const front = `http://localhost:${port}`;

// what a front end does: the verifier stays in the tab, the code is spent at once
const script = `
const base64url = (bytes) => btoa(String.fromCharCode(...bytes)).replace(/\\+/g, '-').replace(/\\//g, '_').replace(/=/g, '');
async function begin() {
  const verifier = base64url(crypto.getRandomValues(new Uint8Array(32)));
  sessionStorage.setItem('verifier', verifier);
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier));
  const asked = new URLSearchParams({ return_to: '${front}/signed-in', code_challenge: base64url(new Uint8Array(digest)) });
  location.href = '${startUrl}?' + asked;
}
async function end() {
  const told = new URLSearchParams(location.search);
  history.replaceState(null, '', '/signed-in');
  if (told.get('error')) return told.get('error');
  const answer = await fetch('${gateway}/v1/auth/oidc/exchange', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ code: told.get('code'), code_verifier: sessionStorage.getItem('verifier') }),
  });
  const body = await answer.json();
  if (!answer.ok) return body.code;
  const me = await fetch('${gateway}/v1/users/me', { headers: { Authorization: 'Bearer ' + body.access_token } });
  return JSON.stringify({ me: await me.json(), tokens: body });
}
(location.pathname === '/' ? begin() : end()).then((said) => { if (said) document.body.textContent = said; document.title = 'done'; });
`;
const page = `<!doctype html><title>front end</title><body></body><script>${script}</script>`;
const server = createServer((_, response) => response.setHeader('Content-Type', 'text/html').end(page));
await new Promise((listening) => server.listen(Number(port), 'localhost', listening));

const browser = await chromium.launch({
  executablePath,
  args: ['--headless=new', '--no-sandbox', '--disable-background-networking', '--disable-component-update'],
});

async function signIn(context, login) {
  const tab = await context.newPage();
  const urls = [];
  tab.on('framenavigated', (frame) => urls.push(frame.url()));
  const callbacks = [];
  tab.on('request', (request) => request.url().includes('/oidc/callback/') && callbacks.push(request.url()));
  await tab.goto(`${front}/`);
  await tab.fill('input[name=login]', login);
  await tab.fill('input[name=password]', 'any');
  await tab.click('button[type=submit]');
  await tab.click('button[type=submit]'); // consent
  await tab.waitForURL(`${front}/signed-in*`);
  await tab.waitForFunction(() => document.title === 'done');
  const said = await tab.textContent('body');
  return { said, urls, callback: callbacks[0], cookies: await context.cookies(gateway) };
}

const told = {};
try {
  const context = await browser.newContext();
  told.ann = await signIn(context, 'ann');
  const stranger = await (await browser.newContext()).newPage();
  told.again = (await stranger.goto(told.ann.callback)).status();
  told.ben = await signIn(await browser.newContext(), 'ben');
} finally {
  await browser.close();
  server.close();
}
console.log(JSON.stringify(told));
