// What the tests of client.js have in common: a clock that stands still until it is moved, a service that is
// scripted, and waiting for what must happen without waiting for time.
import assert from 'node:assert/strict';
import { mock } from 'node:test';

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;

/** A clock for Date, performance and timers, from a moment in 2026. */
export function clock(t) {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: Date.UTC(2026, 0, 5) });
  let slept = 0;
  const start = Date.now();
  mock.method(performance, 'now', () => Date.now() - start - slept);
  mock.method(Math, 'random', () => 0.5);
  t.after(() => {
    mock.timers.reset();
    mock.restoreAll();
  });
  return {
    /** Time passes, and timers run. */
    async pass(ms) {
      await settle();
      for (const end = Date.now() + ms; Date.now() < end; ) {
        mock.timers.tick(Math.min(SECOND, end - Date.now()));
        await settle();
      }
    },
    /** The machine sleeps: no timer runs, and the steady clock stands still. */
    sleep(ms) {
      slept += ms;
      mock.timers.setTime(Date.now() + ms);
    },
    /** Somebody sets the clock. */
    set(ms) {
      slept += ms;
      mock.timers.setTime(Date.now() + ms);
    },
  };
}

/** Lets everything happen that needs no time. */
export async function settle() {
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
}

/** Waits for what needs other threads but no time. */
export async function until(condition, what) {
  for (let i = 0; i < 10_000; i++) {
    if (condition()) return;
    await new Promise(setImmediate);
  }
  assert.fail(`it did not happen: ${what}`);
}

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A bearer of that person, as an identity provider makes it. */
export const bearerOf = (sub, more = {}) => `${part({ alg: 'RS256' })}.${part({ iss: 'https://id.example.com', sub, ...more })}.c2ln`;

let minted = 0;

/** What the service answers with a token that has an hour, unless told otherwise. */
export function issued({ expires_in = 3600, refresh_in = 2700, device = 'default', token, headers = {} } = {}) {
  minted++;
  const body = {
    token: token ?? `${part({ alg: 'HS512' })}.${part({ jti: minted, exp: Math.floor(Date.now() / 1000) + expires_in })}.c2ln`,
    expires_at: new Date(0).toISOString(), // nothing may depend on it
    expires_in,
    refresh_in,
    device,
    request_id: `req-${minted}`,
  };
  return new Response(JSON.stringify(body), { status: 200, headers: { 'Content-Type': 'application/json', ...headers } });
}

/** What it answers when it refuses. */
export function refused(code, status, { retryable = status >= 500 && status !== 502, retryAfter, detail = 'A sentence.' } = {}) {
  const problem = { type: `urn:tokensvc:outcome:${code}`, title: 'x', status, code, detail, request_id: 'req-x', retryable };
  const headers = { 'Content-Type': 'application/problem+json', ...(retryAfter && { 'Retry-After': String(retryAfter) }) };
  return new Response(JSON.stringify(problem), { status, headers });
}

/** A service that answers as the script says, and with tokens when that is at its end. */
export function service(...script) {
  const requests = [];
  const fetch = async (url, init) => {
    requests.push({ url, ...init });
    const next = script.shift() ?? issued;
    return next(init);
  };
  return { requests, script, fetch, url: 'https://phone.example.com/base/' };
}

/** An answer that is not there yet. */
export function held() {
  let let_go;
  const answer = new Promise((resolve) => {
    let_go = resolve;
  });
  return { answer: () => answer, release: (response = issued()) => let_go(response) };
}

/** Notes what a source or a registration says. */
export function note(emitter) {
  const events = [];
  emitter.subscribe((event) => events.push(event));
  return events;
}

export const types = (events) => events.map((e) => e.type).join(' ');
