// A person at a browser (Chromium) who signs in through a page.
//
//   node browser.mjs CHROMIUM PAGE USER
//
// It opens PAGE, presses its button, fills in the identity provider's forms as
// USER, waits for what the page says in the end, and writes one JSON object on
// stdout: {"event":"done", "result":…, "bearer":…, "addresses":[…], "console":[…],
// "storage":…}, where bearer is what the page got of the provider, and addresses
// are all that the browser has shown. It ends then, or when stdin is closed.
import { chromium } from 'playwright-core';

const PATIENCE = 60_000; // ms; a browser starts slowly on a busy machine

process.stdin.resume().on('end', () => process.exit(0)); // takes the browser with it

const [executablePath, page, user] = process.argv.slice(2);
const browser = await chromium.launch({ // with a new, empty profile
  executablePath,
  headless: true,
  chromiumSandbox: false, // containers have none, and only our own pages are shown
  timeout: PATIENCE,
  args: [
    '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--no-proxy-server',
  ],
});
let seen;
try {
  const tab = await browser.newPage();
  tab.setDefaultTimeout(PATIENCE);
  const addresses = [];
  const written = [];
  tab.on('framenavigated', (frame) => {
    if (frame === tab.mainFrame()) addresses.push(frame.url());
  });
  tab.on('console', (message) => written.push(message.text()));
  tab.on('pageerror', (err) => written.push(String(err)));
  let granted;
  tab.on('response', (response) => {
    if (response.request().method() === 'POST' && new URL(response.url()).pathname === '/token') granted = response.json();
  });

  await tab.goto(page);
  await tab.getByRole('button', { name: 'Sign in' }).click();

  await tab.getByPlaceholder('Enter any login').fill(user);
  await tab.getByPlaceholder('and password').fill('any will do');
  await tab.getByRole('button', { name: 'Sign-in' }).click();
  await tab.getByRole('button', { name: 'Continue' }).click(); // consents

  const said = tab.locator('output:not(:empty)');
  await said.waitFor();
  seen = {
    event: 'done',
    bearer: (await granted)?.access_token,
    result: JSON.parse(await said.textContent()),
    addresses: [...addresses, tab.url()],
    console: written,
    storage: await tab.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])),
  };
} finally {
  await browser.close();
}
process.stdout.write(`${JSON.stringify(seen)}\n`);
process.exit(0);
