// Telnyx's own SDK for JavaScript, unchanged, with tokensvc in Telnyx's place.
//
//   node telnyx.mjs [CHROMIUM PAGE]
//
// It reads {"baseURL", "apiKey", "ids":[…]} on stdin, asks for a token of each id in
// turn, and writes one JSON array on stdout, with for each what the SDK gave: {"token"},
// or {"name","status","errors","message"} of what it threw. With CHROMIUM, a path, and PAGE, an
// address with the SDK's files in /sdk/, the same happens in that page.
import { text } from 'node:stream/consumers';

const PATIENCE = 60_000; // ms; a browser starts slowly on a busy machine

// ask is all that somebody writes who uses the SDK, and is taken into the page as it stands.
async function ask({ sdk, baseURL, apiKey, ids }) {
  const { default: Telnyx } = await import(sdk);
  const client = new Telnyx({ baseURL, apiKey });
  const answers = [];
  for (const id of ids) {
    try {
      answers.push({ token: await client.telephonyCredentials.createToken(id) });
    } catch (err) {
      answers.push({ name: err.constructor.name, status: err.status, errors: err.error?.errors, message: err.message });
    }
  }
  return answers;
}

async function inPage(executablePath, page, wanted) {
  const { chromium } = await import('playwright-core');
  const browser = await chromium.launch({
    executablePath,
    headless: true,
    chromiumSandbox: false, // containers have none, and only our own pages are shown
    timeout: PATIENCE,
    args: ['--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--no-proxy-server'],
  });
  try {
    const tab = await browser.newPage();
    tab.setDefaultTimeout(PATIENCE);
    await tab.goto(page);
    return await tab.evaluate(ask, { ...wanted, sdk: '/sdk/index.mjs' });
  } finally {
    await browser.close();
  }
}

const wanted = JSON.parse(await text(process.stdin));
const [chromium, page] = process.argv.slice(2);
const answers = chromium ? await inPage(chromium, page, wanted) : await ask({ ...wanted, sdk: 'telnyx' });
process.stdout.write(`${JSON.stringify(answers)}\n`);
