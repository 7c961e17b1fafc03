// Tabs of one origin: sources of one process, Node's own BroadcastChannel, and a lock manager like a browser's, which
// Node 20 has not. In Chromium's tabs the same is tested end to end.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { createTokenSource } from './client.js';
import { bearerOf, clock, held, HOUR, issued, MINUTE, note, refused, SECOND, service, settle, until } from './testing.mjs';

class Locks {
  queues = new Map();
  async request(name, { signal }, act) {
    const before = this.queues.get(name) ?? Promise.resolve();
    let release;
    const mine = new Promise((resolve) => {
      release = resolve;
    });
    this.queues.set(name, before.then(() => mine));
    try {
      await Promise.race([before, new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))]);
      return await act();
    } finally {
      release();
    }
  }
}

let locks;
beforeEach(() => {
  // On this thread: on another it takes real time, in which any of the test's may pass.
  mock.method(crypto.subtle, 'digest', async (_, text) => new Uint8Array(createHash('sha256').update(text).digest()).buffer);
  locks = new Locks();
  Object.defineProperty(globalThis, 'navigator', { value: { locks, onLine: true }, configurable: true });
});

const open = [];
afterEach(() => {
  for (const one of open.splice(0)) one.close();
  delete globalThis.navigator;
});

/** A tab of that person, with a clock that all tabs have. */
function tab(at, bearer = bearerOf('alice'), more = {}) {
  const source = createTokenSource({ url: at.url, fetch: at.fetch, bearer: () => bearer, ...more });
  open.push(source);
  return source;
}

/** What comes of a promise, with the time that it takes passing. */
async function come(time, promise) {
  let done = false;
  const end = () => {
    done = true;
  };
  promise.then(end, end);
  for (let i = 0; i < 2000 && !done; i++) {
    await settle();
    if (!done) await time.pass(10);
  }
  assert.ok(done, 'it did not come');
  return promise;
}

test('a second tab is given the token of the first', async (t) => {
  const time = clock(t);
  const at = service();
  const [one, other] = [tab(at), tab(at)];
  const token = await come(time, one.get());
  await time.pass(MINUTE);
  const events = note(other);
  const theirs = await come(time, other.get());
  assert.equal(theirs.token, token.token);
  assert.equal(at.requests.length, 1);
  assert.equal(events.at(-1).from, 'tab');
  assert.ok(Math.abs(theirs.refreshAt - token.refreshAt) < SECOND, 'it is not a minute younger');
});

test('two tabs that ask at once make one request', async (t) => {
  const time = clock(t);
  const at = service();
  const tokens = await come(time, Promise.all([tab(at).get(), tab(at).get(), tab(at).get()]));
  assert.equal(new Set(tokens.map((x) => x.token)).size, 1);
  assert.equal(at.requests.length, 1);
});

test('what one tab renews is not renewed by the other', async (t) => {
  const time = clock(t);
  const at = service();
  const [one, other] = [tab(at), tab(at)];
  await come(time, Promise.all([one.get(), other.get()]));
  await time.pass(45 * MINUTE);
  for (let i = 0; i < 10; i++) await time.pass(SECOND);
  const [a, b] = await come(time, Promise.all([one.get(), other.get()]));
  assert.equal(a.token, b.token);
  assert.equal(at.requests.length, 2);
});

test('a fresh token is minted for one tab, and is the others\' too', async (t) => {
  const time = clock(t);
  const at = service();
  const [one, other] = [tab(at), tab(at)];
  await come(time, one.get());
  await come(time, other.get());
  const events = note(other);
  await time.pass(MINUTE); // what is minted now is renewed later
  const fresh = await come(time, one.get({ fresh: true }));
  await until(() => events.length, 'the other tab hears of it');
  assert.equal((await other.get()).token, fresh.token);
  assert.equal(at.requests.length, 2);
});

for (const { name, bearers, at, devices, requests } of [
  { name: 'one person, one bearer', bearers: [bearerOf('alice'), bearerOf('alice')], requests: 1 },
  { name: 'one person, two bearers', bearers: [bearerOf('alice', { jti: 1 }), bearerOf('alice', { jti: 2 })], requests: 1 },
  { name: 'two people', bearers: [bearerOf('alice'), bearerOf('bob')], requests: 2 },
  { name: 'one name at two issuers', bearers: [bearerOf('alice'), bearerOf('alice', { iss: 'https://other.example.com' })], requests: 2 },
  { name: 'one bearer that says nothing', bearers: ['opaque', 'opaque'], requests: 1 },
  { name: 'two bearers that say nothing', bearers: ['opaque', 'other'], requests: 2 },
  { name: 'two devices', bearers: [bearerOf('alice'), bearerOf('alice')], devices: ['desk', 'car'], requests: 2 },
  { name: 'two services', bearers: [bearerOf('alice'), bearerOf('alice')], at: ['https://a.example.com', 'https://b.example.com'], requests: 2 },
]) {
  test(`tabs of ${name} make ${requests} requests`, async (t) => {
    const time = clock(t);
    const one = service();
    const sources = bearers.map((bearer, i) => tab(one, bearer, { url: at?.[i] ?? one.url, device: devices?.[i] }));
    const heard = sources.map(note);
    const tokens = [await come(time, sources[0].get()), await come(time, sources[1].get())];
    assert.equal(one.requests.length, requests);
    assert.equal(tokens[0].token === tokens[1].token, requests === 1);
    await settle();
    const fromTabs = heard.flat().filter((e) => e.from === 'tab').length;
    assert.equal(fromTabs, requests === 1 ? 1 : 0);
  });
}

test('a tab that becomes another person\'s leaves the first one\'s', async (t) => {
  const time = clock(t);
  const at = service();
  let who = 'alice';
  const one = tab(at, undefined, { bearer: () => bearerOf(who) });
  const other = tab(at);
  await come(time, one.get());
  await come(time, other.get());
  who = 'bob';
  await assert.rejects(come(time, one.get({ fresh: true })), { outcome: 'unauthenticated' });
  const events = note(one);
  await time.pass(MINUTE);
  await come(time, other.get({ fresh: true }));
  await settle();
  assert.deepEqual(events, []);
});

test('the next person, whose bearer says nothing, has nothing of the last one\'s', async (t) => {
  const time = clock(t);
  const at = service();
  let bearer = 'alices';
  const one = tab(at, undefined, { bearer: () => bearer });
  const alices = await come(time, one.get());
  bearer = 'bobs';
  at.script.push(() => refused('no_credential', 403));
  await assert.rejects(come(time, one.get({ fresh: true })), { outcome: 'no_credential' });
  at.script.push(() => refused('no_credential', 403), () => refused('no_credential', 403));
  const given = await Promise.allSettled([come(time, one.get()), come(time, tab(at, 'bobs').get())]);
  assert.deepEqual(given.map((g) => g.reason?.outcome ?? g.value.token === alices.token), ['no_credential', 'no_credential']);
});

test('a token of another tab ends the pause of one that has no luck', async (t) => {
  const time = clock(t);
  const at = service(() => refused('overloaded', 503, { retryAfter: 500 }));
  const unlucky = tab(at).get();
  while (!at.requests.length) await time.pass(10);
  const token = await come(time, tab(at).get());
  const began = Date.now();
  assert.equal((await come(time, unlucky)).token, token.token);
  assert.ok(Date.now() - began < SECOND);
  assert.equal(at.requests.length, 2);
});

test('bearers that say nothing are another channel each time', async (t) => {
  const time = clock(t);
  const at = service();
  let bearer = 'one';
  const one = tab(at, undefined, { bearer: () => bearer });
  await come(time, one.get());
  bearer = 'two';
  await come(time, one.get({ fresh: true }));
  await come(time, tab(at, 'one').get()); // no longer hers
  assert.equal(at.requests.length, 3);
  await come(time, tab(at, 'two').get());
  assert.equal(at.requests.length, 3);
});

test('a tab that never ends its turn is not waited for for ever', async (t) => {
  const time = clock(t);
  const stuck = held();
  const at = service(stuck.answer);
  const [one, other] = [tab(at), tab(at)];
  one.get().catch(() => {});
  while (!at.requests.length) await time.pass(10);
  const asked = Date.now();
  await come(time, other.get());
  assert.equal(at.requests.length, 2);
  assert.ok(Date.now() - asked >= 9 * SECOND && Date.now() - asked < 12 * SECOND, `after ${Date.now() - asked} ms`);
});

test('nothing that a page of the origin sends does harm', async (t) => {
  const time = clock(t);
  const at = service();
  const one = tab(at);
  const { token } = await come(time, one.get());
  const [name] = locks.queues.keys();
  assert.match(name, /^tokensvc:[0-9a-f]{64}$/);
  const events = note(one);
  const channel = new BroadcastChannel(name);
  open.push(channel);
  const good = { token: 'a.b.c', life: 24 * HOUR, due: 20 * HOUR, requestId: 'x', sent: Date.now() };
  for (const bad of [
    null, 1, 'x', [], {}, { want: false }, { ...good, token: undefined }, { ...good, token: 'no token' }, { ...good, token: `a.${'b'.repeat(9000)}.c` },
    { ...good, life: Infinity }, { ...good, life: '9' }, { ...good, life: -1 }, { ...good, due: NaN }, { ...good, life: 1e15, due: 1e15 },
    { ...good, sent: undefined }, { ...good, sent: Date.now() - 25 * HOUR }, { ...good, sent: '0' }, { ...good, due: 1, life: 2 },
  ]) {
    channel.postMessage(bad);
  }
  const answers = [];
  channel.onmessage = ({ data }) => answers.push(data);
  channel.postMessage({ want: true });
  await until(() => answers.length, 'an answer, after all that was sent before');
  assert.deepEqual(events, []);
  assert.equal(answers[0].token, token);
  channel.postMessage(good);
  await until(() => events.length, 'what is good is taken');
  assert.equal((await one.get()).token, 'a.b.c');
});

test('where tabs cannot share, they do not', async (t) => {
  const time = clock(t);
  Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
  const at = service(issued, issued);
  await come(time, tab(at).get());
  await come(time, tab(at).get());
  assert.equal(at.requests.length, 2);
});

test('where locks are refused, tabs go on without', async (t) => {
  const time = clock(t);
  locks.request = () => Promise.reject(new DOMException('no', 'SecurityError'));
  const at = service();
  await come(time, tab(at).get());
  assert.equal(at.requests.length, 1);
});
