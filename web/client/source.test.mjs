import assert from 'node:assert/strict';
import { afterEach, mock, test } from 'node:test';

import { createTokenSource, TokenError } from './client.js';
import { bearerOf, clock, HOUR, held, issued, MINUTE, note, refused, SECOND, service, settle, types } from './testing.mjs';

const open = [];
afterEach(() => {
  for (const source of open.splice(0)) source.close();
});

function sourceOf(at, more = {}) {
  const source = createTokenSource({ url: at.url, fetch: at.fetch, bearer: () => bearerOf('alice'), ...more });
  open.push(source);
  return source;
}

test('a token and what is asked for it', async (t) => {
  clock(t);
  const at = service(() => issued({ headers: { 'Server-Timing': 'verify;dur=0.04, directory;dur=0.01, mint;dur=51.2' } }));
  const source = sourceOf(at);
  const events = note(source);
  const token = await source.get();
  assert.equal(token.device, 'default');
  assert.equal(token.expiresAt, Date.now() + HOUR);
  assert.equal(token.refreshAt, Date.now() + 45 * MINUTE);
  assert.match(token.requestId, /^req-/);

  const [request] = at.requests;
  assert.equal(request.url, 'https://phone.example.com/base/v1/token');
  assert.equal(request.method, 'POST');
  assert.equal(request.headers.Authorization, `Bearer ${bearerOf('alice')}`);
  assert.deepEqual(
    [request.body, request.credentials, request.redirect, request.referrerPolicy, request.cache, request.headers['Cache-Control']],
    [undefined, 'omit', 'error', 'no-referrer', undefined, undefined],
  );
  assert.equal(types(events), 'asking token');
  assert.deepEqual(events[1].timings, { verify: 0.04, directory: 0.01, mint: 51.2 });
  assert.ok(!JSON.stringify(events).includes(token.token), 'a token in an event');
});

test('a device and a fresh token are asked for', async (t) => {
  clock(t);
  const at = service();
  const source = sourceOf(at, { device: 'desk.1' });
  await source.get();
  await source.get({ fresh: true });
  assert.equal(at.requests[0].body, '{"device":"desk.1"}');
  assert.equal(at.requests[0].headers['Cache-Control'], undefined);
  assert.equal(at.requests[1].headers['Cache-Control'], 'no-cache, fresh');
  assert.equal(at.requests[1].cache, undefined, 'with the option browsers send Pragma too');
});

test('one request however many ask', async (t) => {
  clock(t);
  const first = held();
  const at = service(first.answer);
  const source = sourceOf(at);
  const asked = Promise.all([source.get(), source.get(), source.get()]);
  await settle();
  first.release();
  const tokens = new Set((await asked).map((token) => token.token));
  assert.equal(tokens.size, 1);
  assert.equal(at.requests.length, 1);
});

test('who wants a fresh one is not given what was asked for before', async (t) => {
  clock(t);
  const first = held();
  const at = service(first.answer);
  const source = sourceOf(at);
  const plain = source.get();
  await settle();
  const fresh = source.get({ fresh: true });
  first.release(issued({ token: 'old.old.old' }));
  assert.notEqual((await fresh).token, 'old.old.old');
  await plain;
  assert.deepEqual(at.requests.map((r) => r.headers['Cache-Control']), [undefined, 'no-cache, fresh']);
});

for (const { life, refresh, after, asks } of [
  { life: 3600, refresh: 2700, after: 2699, asks: 1 },
  { life: 3600, refresh: 2700, after: 2701, asks: 2 },
  { life: 3600, refresh: 3600, after: 3541, asks: 2 }, // a minute before its end, whatever the service says
  { life: 30, refresh: 30, after: 26, asks: 1 },
  { life: 30, refresh: 30, after: 28, asks: 2 },
]) {
  test(`of ${life} s, to be renewed after ${refresh}: ${asks} requests after ${after} s`, async (t) => {
    const { pass } = clock(t);
    const at = service(() => issued({ expires_in: life, refresh_in: refresh }));
    await sourceOf(at).get();
    await pass(after * SECOND);
    assert.equal(at.requests.length, asks);
  });
}

test('what the service thinks the time is matters not', async (t) => {
  clock(t);
  const at = service(async () => {
    const answer = await issued().json();
    return Response.json({ ...answer, expires_at: '1999-01-01T00:00:00Z' });
  });
  const source = sourceOf(at);
  await source.get();
  await source.get();
  assert.equal(at.requests.length, 1);
});

test('life counts from when the token was asked for', async (t) => {
  const { pass } = clock(t);
  const slow = held();
  const at = service(slow.answer);
  const source = sourceOf(at);
  const asked = Date.now();
  const token = source.get();
  await pass(20 * SECOND);
  slow.release();
  assert.equal((await token).expiresAt, asked + HOUR);
});

test('a machine that slept for a day asks as soon as a timer runs', async (t) => {
  const { pass, sleep } = clock(t);
  const at = service();
  const source = sourceOf(at);
  const before = await source.get();
  sleep(25 * HOUR);
  assert.notEqual((await source.get()).token, before.token, 'an expired token was handed out');
  sleep(25 * HOUR);
  await pass(31 * SECOND);
  assert.equal(at.requests.length, 3);
});

test('a clock that is set back prolongs no life', async (t) => {
  clock(t);
  const at = service();
  const source = sourceOf(at);
  await source.get();
  t.mock.method(performance, 'now', () => 2 * HOUR); // and Date as it was
  await source.get();
  assert.equal(at.requests.length, 2);
});

for (const type of ['online', 'pageshow', 'resume', 'visibilitychange']) {
  test(`${type} has the clock looked at`, async (t) => {
    const { sleep } = clock(t);
    const page = new EventTarget();
    const file = Object.assign(new EventTarget(), { visibilityState: 'visible' });
    replace(t, 'addEventListener', page.addEventListener.bind(page));
    replace(t, 'removeEventListener', page.removeEventListener.bind(page));
    replace(t, 'document', file);
    const at = service();
    const source = sourceOf(at);
    await source.get();
    sleep(HOUR);
    const on = type === 'online' || type === 'pageshow' ? page : file;
    on.dispatchEvent(new Event(type));
    await settle();
    assert.equal(at.requests.length, 2);
    source.close();
    sleep(2 * HOUR);
    on.dispatchEvent(new Event(type));
    await settle();
    assert.equal(at.requests.length, 2, 'it went on after close()');
  });
}

function replace(t, name, value) {
  const before = Object.getOwnPropertyDescriptor(globalThis, name);
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  t.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
}

test('a renewal that fails takes no good token away', async (t) => {
  const { pass } = clock(t);
  const down = () => refused('upstream_unavailable', 503);
  const at = service(issued, ...Array(9).fill(down));
  const source = sourceOf(at);
  const events = note(source);
  const first = await source.get();
  await pass(45 * MINUTE + SECOND);
  assert.equal((await source.get()).token, first.token);
  assert.equal(events.at(-1).type, 'retrying');
  await pass(10 * MINUTE);
  assert.notEqual((await source.get()).token, first.token);
});

test('the pauses double up to a minute, and are jittered', async (t) => {
  const { pass } = clock(t);
  const at = service(...Array(9).fill(() => refused('upstream_unavailable', 503)));
  const source = sourceOf(at);
  const events = note(source);
  const token = source.get();
  await pass(10 * MINUTE);
  await token;
  const delays = events.filter((e) => e.type === 'retrying').map((e) => e.delay / SECOND);
  assert.deepEqual(delays, [0.5, 1, 2, 4, 8, 16, 30, 30, 30]); // half of what they could be, as the dice fall here
});

for (const { header, waits } of [
  { header: () => '7', waits: 7 },
  { header: () => new Date(Date.now() + 20 * SECOND).toUTCString(), waits: 20 },
  { header: () => '86400', waits: 600 },
  { header: () => 'soon', waits: 0.5 },
  { header: () => '-5', waits: 0.5 },
]) {
  test(`Retry-After as here is waited for ${waits} s, online or not`, async (t) => {
    const { pass } = clock(t);
    const page = new EventTarget();
    replace(t, 'addEventListener', page.addEventListener.bind(page));
    const at = service(() => refused('overloaded', 503, { retryAfter: header() }));
    const source = sourceOf(at);
    const token = source.get();
    await settle();
    if (waits >= 1) page.dispatchEvent(new Event('online'));
    await pass((waits - 0.1) * SECOND);
    assert.equal(at.requests.length, 1);
    await pass(SECOND);
    assert.equal(at.requests.length, 2);
    await token;
  });
}

for (const { dice, waits } of [
  { dice: 0, waits: 0 },
  { dice: 0.999, waits: 0.999 },
]) {
  test(`the first pause is ${waits} s when the dice say ${dice}`, async (t) => {
    const { pass } = clock(t);
    mock.method(Math, 'random', () => dice);
    const at = service(() => refused('upstream_unavailable', 503));
    const source = sourceOf(at);
    const events = note(source);
    const token = source.get();
    await pass(SECOND);
    await token;
    assert.equal(events.find((e) => e.type === 'retrying').delay, waits * SECOND);
  });
}

test('a token that ends within a minute is handed out to nobody', async (t) => {
  const { pass } = clock(t);
  const at = service(issued, ...Array(200).fill(() => refused('upstream_unavailable', 503)));
  const source = sourceOf(at);
  const first = await source.get();
  await pass(59 * MINUTE - SECOND);
  assert.equal((await source.get()).token, first.token);
  await pass(31 * SECOND);
  let given;
  const token = source.get().then((got) => (given = got));
  await settle();
  assert.equal(given, undefined, 'it waits for another');
  at.script.length = 0;
  await pass(MINUTE);
  assert.notEqual((await token).token, first.token);
});

for (const [what, put] of [
  ['that nobody sees', (t) => replace(t, 'document', Object.assign(new EventTarget(), { visibilityState: 'hidden' }))],
  ['that is offline', (t) => replace(t, 'navigator', { onLine: false, locks: undefined })],
]) {
  test(`a page ${what} waits for its turn, whatever it is told`, async (t) => {
    const { pass } = clock(t);
    const page = new EventTarget();
    replace(t, 'addEventListener', page.addEventListener.bind(page));
    put(t);
    const at = service(() => Promise.reject(new TypeError('Failed to fetch')));
    const token = sourceOf(at).get();
    await settle();
    page.dispatchEvent(new Event('pageshow'));
    await settle();
    assert.equal(at.requests.length, 1);
    await pass(SECOND);
    await token;
  });
}

test('the network that is back ends a pause', async (t) => {
  const { pass } = clock(t);
  const page = new EventTarget();
  replace(t, 'addEventListener', page.addEventListener.bind(page));
  const lost = () => Promise.reject(new TypeError('Failed to fetch'));
  const at = service(...Array(8).fill(lost));
  const source = sourceOf(at);
  const events = note(source);
  const token = source.get();
  await pass(50 * SECOND);
  assert.equal(events.at(-1).error.outcome, 'network');
  at.script.length = 0;
  page.dispatchEvent(new Event('online'));
  await token;
});

const gone = [
  { name: 'denied', answer: () => refused('denied', 403, { detail: 'Your access has been withdrawn.' }), says: 'Your access has been withdrawn. (denied, request req-x)' },
  { name: 'no_credential', answer: () => refused('no_credential', 403), says: 'A sentence. (no_credential, request req-x)' },
  { name: 'upstream_rejected', answer: () => refused('upstream_rejected', 502), says: 'A sentence. (upstream_rejected, request req-x)' },
  { name: 'bad_answer', answer: () => new Response('<html>', { status: 404 }), says: 'What answers is not the token service (status 404). (bad_answer)' },
  { name: 'bad_answer', answer: () => new Response('<html>'), says: 'What answers is not the token service (status 200). (bad_answer)' },
  { name: 'bad_answer', answer: () => Response.json({ token: 'a.b.c', expires_in: 0, refresh_in: 0 }), says: 'What answers is not the token service (status 200). (bad_answer)' },
  { name: 'bad_answer', answer: () => Response.json({ token: 'not a token', expires_in: 60, refresh_in: 50 }), says: 'What answers is not the token service (status 200). (bad_answer)' },
];
for (const { name, answer, says } of gone) {
  test(`given up at once: ${name}, ${says}`, async (t) => {
    const { pass } = clock(t);
    const at = service(answer);
    const source = sourceOf(at);
    const events = note(source);
    await assert.rejects(source.get(), (err) => {
      assert.ok(err instanceof TokenError);
      assert.deepEqual([err.name, err.outcome, err.retryable, err.message], ['TokenError', name, false, says]);
      return true;
    });
    assert.equal(types(events), 'asking failed');
    await pass(HOUR);
    assert.equal(at.requests.length, 1, 'it asked again by itself');
    await source.get();
  });
}

for (const { name, answer } of [
  { name: 'what a broken proxy says', answer: () => new Response('<html>', { status: 502 }) },
  { name: 'a problem that says so', answer: () => refused('rate_limited', 429, { retryable: true }) },
  { name: 'a network that is not there', answer: () => Promise.reject(new TypeError('Failed to fetch')) },
  { name: 'no answer at all', answer: ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))) },
]) {
  test(`tried again: ${name}`, async (t) => {
    const { pass } = clock(t);
    const at = service(answer);
    const token = sourceOf(at).get();
    await pass(31 * SECOND);
    await token;
    assert.equal(at.requests.length, 2);
  });
}

test('of an answer that never ends only the beginning is read', async (t) => {
  const { pass } = clock(t);
  let chunks = 0;
  const pull = (to) => {
    to.enqueue(Buffer.alloc(16 << 10, 32));
    if (++chunks === 100) to.close();
  };
  const at = service(() => new Response(new ReadableStream({ pull }), { status: 503 }));
  const token = sourceOf(at).get();
  await pass(SECOND);
  await token;
  assert.ok(chunks < 20, `${chunks} chunks were read`);
});

test('a renewal that is given up is not tried again until somebody asks', async (t) => {
  const { pass } = clock(t);
  const page = new EventTarget();
  replace(t, 'addEventListener', page.addEventListener.bind(page));
  const at = service(issued, () => refused('denied', 403));
  const source = sourceOf(at);
  const first = await source.get();
  await pass(50 * MINUTE);
  page.dispatchEvent(new Event('online'));
  await pass(MINUTE);
  assert.equal(at.requests.length, 2);
  assert.equal((await source.get()).token, first.token);
  await settle();
  assert.equal(at.requests.length, 3);
});

test('a page in its place is tried again once the service has worked', async (t) => {
  const { pass } = clock(t);
  const at = service(issued, () => new Response('<html>', { status: 404 }));
  const source = sourceOf(at);
  const first = await source.get();
  await pass(46 * MINUTE);
  assert.notEqual((await source.get()).token, first.token);
});

test('a bearer that was refused is asked for once more, and only once', async (t) => {
  clock(t);
  const asked = [];
  const bearer = ({ rejected }) => {
    asked.push(rejected);
    return bearerOf('alice', { n: asked.length });
  };
  const no = () => refused('invalid_token', 401);
  const at = service(no, issued, no, no);
  const source = sourceOf(at, { bearer });
  await source.get();
  assert.deepEqual(asked, [false, true]);
  assert.notEqual(at.requests[0].headers.Authorization, at.requests[1].headers.Authorization);
  await assert.rejects(source.get({ fresh: true }), { outcome: 'invalid_token', status: 401 });
  assert.deepEqual(asked, [false, true, false, true]);
});

for (const { name, bearer, outcome } of [
  { name: 'says that it is for good', bearer: () => Promise.reject(Object.assign(new Error('x'), { retryable: false })), outcome: 'bearer_failed' },
  { name: 'has nobody signed in', bearer: () => '', outcome: 'unauthenticated' },
]) {
  test(`a bearer() that ${name}`, async (t) => {
    clock(t);
    const at = service();
    await assert.rejects(sourceOf(at, { bearer }).get(), { outcome, retryable: false });
    assert.equal(at.requests.length, 0);
  });
}

test('a bearer() that fails, or never answers, is asked again', async (t) => {
  const { pass } = clock(t);
  let calls = 0;
  const bearer = () => [() => Promise.reject(new TypeError('offline')), () => new Promise(() => {}), () => bearerOf('alice')][calls++]();
  const token = sourceOf(service(), { bearer }).get();
  await pass(40 * SECOND);
  await token;
  assert.equal(calls, 3);
});

test('another person gets no token of the last one', async (t) => {
  const { pass } = clock(t);
  let who = 'alice';
  const at = service();
  const source = sourceOf(at, { bearer: () => bearerOf(who) });
  const first = await source.get();
  who = 'bob';
  await pass(46 * MINUTE); // nothing is asked in his name
  await assert.rejects(source.get(), { outcome: 'unauthenticated', retryable: false, message: /^Somebody else is signed in/ });
  assert.equal(at.requests.length, 1);
  who = 'alice';
  assert.notEqual((await source.get()).token, first.token);
});

for (const bearer of ['SECRET\nlines', 'SECRET\r', 'SECRETä', 'SECRET b', '\0SECRET']) {
  test(`a bearer like ${JSON.stringify(bearer)} is sent nowhere, and is in no error`, async (t) => {
    clock(t);
    const at = service();
    const source = sourceOf(at, { bearer: () => bearer });
    const events = note(source);
    const error = await source.get().catch((e) => e);
    assert.deepEqual([error.outcome, error.retryable, error.cause, at.requests.length], ['bearer_failed', false, undefined, 0]);
    assert.ok(!JSON.stringify([error.message, error.stack, events]).includes('SECRET'), error.message);
  });
}

test('who does not want to wait any longer does not, and others do', async (t) => {
  clock(t);
  const first = held();
  const at = service(first.answer);
  const source = sourceOf(at);
  const impatient = new AbortController();
  const given = source.get({ signal: impatient.signal });
  const other = source.get();
  await settle();
  impatient.abort();
  await assert.rejects(given, { name: 'AbortError' });
  assert.ok(!at.requests[0].signal.aborted);
  first.release();
  await other;
});

test('a request for which nobody waits is ended', async (t) => {
  clock(t);
  const at = service(({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))));
  const source = sourceOf(at);
  const impatient = new AbortController();
  const given = source.get({ signal: impatient.signal });
  await settle();
  impatient.abort(new Error('enough'));
  await assert.rejects(given, /enough/);
  assert.ok(at.requests[0].signal.aborted);
  await source.get();
});

test('close() forgets, and fails whoever waits', async (t) => {
  const { pass } = clock(t);
  const at = service(issued, () => new Promise(() => {}));
  const source = sourceOf(at);
  await source.get();
  const waiting = source.get({ fresh: true });
  await settle();
  source.close();
  await assert.rejects(waiting, { name: 'AbortError' });
  await assert.rejects(source.get(), { name: 'AbortError' });
  await pass(2 * HOUR);
  assert.equal(at.requests.length, 2);
});

test('what a listener throws is its own affair', async (t) => {
  clock(t);
  const thrown = [];
  const later = queueMicrotask;
  replace(t, 'queueMicrotask', (f) =>
    later(() => {
      try {
        f();
      } catch (err) {
        thrown.push(err.message);
      }
    }),
  );
  const source = sourceOf(service());
  source.subscribe(() => {
    throw new Error('x');
  });
  const events = note(source);
  await source.get();
  assert.equal(types(events), 'asking token');
  assert.deepEqual(thrown, ['x', 'x']);
});

for (const [name, options] of Object.entries({
  'an address that is none': { url: 'phone.example.com' },
  'an address of something else': { url: 'ftp://phone.example.com' },
  'an address with a password': { url: 'https://me:secret@phone.example.com' },
  'a device that is no name': { device: 'Desk 1' },
  'a bearer that is none': { bearer: 'abc' },
})) {
  test(`refused: ${name}`, () => {
    assert.throws(() => createTokenSource({ url: 'https://phone.example.com', bearer: () => '', ...options }), TypeError);
  });
}
