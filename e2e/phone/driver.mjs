// A person's browser (Chromium), that does what it is told.
//
//   node driver.mjs MODULES CHROMIUM
//
// where MODULES is the folder that has playwright-core and axe-core in its
// node_modules. It reads a command a line, {"do": NAME, …}, does one after the
// other, and answers each with a line: {"is": VALUE} or {"failed": WHY}. Its
// tabs share an origin's locks and channels, as those of a person's browser do.
// It ends when stdin is closed.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const PATIENCE = 45_000; // ms; a busy machine is slow
const LOOK = 50; // ms between two looks at what is waited for

const [modules, executablePath] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { chromium } = require('playwright-core');

const browser = await chromium.launch({
  executablePath,
  headless: true,
  chromiumSandbox: false, // containers have none, and only our own pages are shown
  timeout: PATIENCE,
  args: [
    '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--no-proxy-server',
  ],
});
const context = await browser.newContext();
context.setDefaultTimeout(PATIENCE);

const tabs = {};
const seen = {
  addresses: [], console: [], requests: [], sockets: [], storage: [], databases: [], caches: [],
  tokens: [], bearers: [], refreshes: [], // the secrets
};

// watch keeps what anybody could have seen of a tab, and by themselves the
// secrets that must not be among it.
function watch(name, page) {
  page.on('framenavigated', (frame) => seen.addresses.push(frame.url()));
  page.on('console', (message) => seen.console.push(message.text()));
  page.on('pageerror', (err) => seen.console.push(String(err)));
  page.on('websocket', (socket) => {
    const kept = { tab: name, url: socket.url(), sent: [], got: [] };
    seen.sockets.push(kept);
    socket.on('framesent', ({ payload }) => {
      const { method, params } = JSON.parse(payload);
      if (method) kept.sent.push(method);
      if (params?.login_token) seen.tokens.push(params.login_token);
    });
    socket.on('framereceived', ({ payload }) => {
      const { method, error } = JSON.parse(payload);
      if (method ?? error) kept.got.push(method ?? String(error.code));
    });
  });
}

// Requests are those of workers too.
context.on('request', (request) => {
  seen.requests.push({ method: request.method(), url: request.url(), resource: request.resourceType() });
  const bearer = request.headers().authorization?.split(' ')[1];
  if (bearer) seen.bearers.push(bearer);
});

// What is handed out is a secret even if nobody uses it.
const reading = [];
context.on('requestfinished', (request) => { reading.push(given(request).catch(() => {})); }); // its tab is closed

async function given(request) {
  if (request.method() !== 'POST') return;
  const text = await (await request.response()).text();
  if (request.url().endsWith('/bearer')) seen.bearers.push(text);
  let answer = null;
  try {
    answer = JSON.parse(text);
  } catch {
    return;
  }
  const keep = (where, ...secrets) => where.push(...secrets.filter((secret) => secret));
  keep(seen.tokens, answer?.token);
  keep(seen.bearers, answer?.access_token, answer?.id_token);
  keep(seen.refreshes, answer?.refresh_token);
}

// keepStorage sees all that the tab's origin keeps on the disk or for the session.
async function keepStorage(page) {
  const [stored, databases, cached] = await page.evaluate(async () => [
    JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, history.state, globalThis.name]),
    (await indexedDB.databases()).map(({ name }) => name),
    await caches.keys(),
  ]);
  seen.storage.push(stored);
  seen.databases.push(...databases);
  seen.caches.push(...cached);
}

async function within(what, settled) {
  const end = performance.now() + PATIENCE;
  for (;;) {
    const is = await settled();
    if (is) return is;
    if (performance.now() > end) throw new Error(`not within ${PATIENCE} ms: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, LOOK); });
  }
}

const commands = {
  // Only what is opened later has a clock that can be moved.
  clock: () => context.clock.install(),
  // freeze stops all timers, thaw lets them run; jump has time go by, frozen or not.
  freeze: async ({ tab }) => context.clock.pauseAt(1000 + await tabs[tab].evaluate(() => Date.now())),
  thaw: () => context.clock.resume(),
  jump: ({ ms }) => context.clock.fastForward(ms),
  offline: ({ offline }) => context.setOffline(offline),

  async open({ tab, url }) {
    tabs[tab] = await context.newPage();
    watch(tab, tabs[tab]);
    await tabs[tab].goto(url, { waitUntil: 'domcontentloaded' });
  },
  async reload({ tab }) {
    await keepStorage(tabs[tab]);
    await tabs[tab].reload({ waitUntil: 'domcontentloaded' });
  },
  async close({ tab }) {
    await keepStorage(tabs[tab]);
    await tabs[tab].close();
    delete tabs[tab];
  },
  // adopt names the tab that a click has opened.
  async adopt({ tab }) {
    const known = new Set(Object.values(tabs));
    await within('another tab', () => context.pages().some((page) => !known.has(page)));
    tabs[tab] = context.pages().find((page) => !known.has(page));
    watch(tab, tabs[tab]);
  },

  run: ({ tab, script }) => tabs[tab].evaluate(script),
  until: ({ tab, script }) => within(script, () => tabs[tab].evaluate(script).catch((err) => {
    if (!/context was destroyed|navigat/i.test(err.message)) throw err; // on its way to another page
  })),

  // forget has everybody's sessions end, as clearing the browser's data does.
  forget: () => context.clearCookies(),

  visible: ({ tab, selector }) => tabs[tab].locator(selector).first().waitFor(),
  click: ({ tab, selector }) => tabs[tab].locator(selector).click(),
  press: ({ tab, key }) => tabs[tab].keyboard.press(key),
  text: ({ tab, selector }) => tabs[tab].locator(selector).innerText(),
  count: ({ tab, selector }) => tabs[tab].locator(selector).count(),

  // look makes the person's screen and taste.
  async look({ tab, scheme, width, height }) {
    await tabs[tab].emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
    await tabs[tab].setViewportSize({ width, height });
  },
  async screenshot({ tab, path }) {
    await tabs[tab].screenshot({ path, fullPage: true });
  },
  async axe({ tab }) {
    const page = tabs[tab];
    const frame = await context.newCDPSession(page); // past the page's CSP
    const { source } = require('axe-core');
    const call = `${source}; axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => JSON.stringify(
      violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map(({ html }) => html) }))))`;
    const { result, exceptionDetails } = await frame.send('Runtime.evaluate', { expression: call, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return JSON.parse(result.value);
  },

  async seen() {
    const pages = Object.values(tabs);
    for (const page of pages) await keepStorage(page);
    await Promise.all(reading);
    return { ...seen, addresses: [...seen.addresses, ...pages.map((page) => page.url())], cookies: await context.cookies() };
  },
};

const answer = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

answer({ is: browser.version() });
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    answer({ is: (await commands[command.do](command)) ?? null });
  } catch (err) {
    answer({ failed: `${command.do}: ${err.message}` });
  }
}
// For whoever reads why a test has failed.
for (const [name, page] of Object.entries(tabs)) {
  console.error(`${name}: ${page.url()}\n${await page.locator('body').innerText({ timeout: 1000 }).catch(String)}\n`);
}
console.error(JSON.stringify({ console: seen.console, sockets: seen.sockets }, null, 1));
await browser.close();
process.exit(0);
