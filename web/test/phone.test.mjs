import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';

import { createTokenSource, keepRegistered } from '../client/client.js';
import { bearerOf, clock, HOUR, MINUTE, note, refused, SECOND, service, settle } from '../client/testing.mjs';
import { softphone } from './sdk.mjs';

const open = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

/** A phone that is on its way to be registered. */
async function phone(t, ...script) {
  const time = clock(t);
  const { client, gateway } = await softphone(t);
  const at = service(...script);
  const source = createTokenSource({ url: at.url, fetch: at.fetch, bearer: () => bearerOf('alice') });
  const registration = keepRegistered(client, source);
  const events = note(registration);
  open.push(async () => {
    registration.stop();
    source.close();
    await client.disconnect();
    await settle();
  });
  await settle();
  return { ...time, client, gateway, at, source, registration, events };
}

const story = (events) => events.map((e) => (e.type === 'login' ? `login ${e.reason}` : [e.state, e.why].filter(Boolean).join(' '))).join(', ');

test('a phone registers with a token of the source', async (t) => {
  const { gateway, registration, source, client, events } = await phone(t);
  assert.equal(registration.state, 'registered');
  const { token } = await source.get();
  assert.deepEqual(gateway.logins, [token]);
  assert.equal(client.options.login_token, token);
  assert.equal(story(events), 'login first, registered');
});

test('a new token is logged in with on the live connection', async (t) => {
  const { gateway, pass, events, source } = await phone(t);
  await pass(46 * MINUTE);
  assert.equal(gateway.logins.length, 2);
  assert.equal(gateway.logins[1], (await source.get()).token);
  assert.deepEqual([gateway.connections, gateway.registrations, gateway.relogins], [1, 1, 1]);
  assert.equal(story(events), 'login first, registered, login refresh');
});

test('a connection that is lost is made again, with a token that is good', async (t) => {
  const { gateway, pass, sleep, events, registration, at } = await phone(t);
  sleep(25 * HOUR); // no timer has run
  gateway.drop();
  await pass(5 * SECOND);
  assert.equal(registration.state, 'registered');
  assert.equal(at.requests.length, 2);
  assert.equal(gateway.logins.length, 2);
  assert.notEqual(gateway.logins[1], gateway.logins[0], 'an expired token was sent');
  assert.equal(story(events), 'login first, registered, connecting connection_lost, login reconnected, registered');
});

test('on waking with the service down the phone waits for a token and sends no old one', async (t) => {
  const { gateway, pass, sleep, registration, at } = await phone(t);
  at.script.push(...Array(4).fill(() => refused('upstream_unavailable', 503)));
  sleep(25 * HOUR);
  gateway.drop();
  await pass(4 * SECOND);
  assert.equal(registration.state, 'waiting');
  assert.equal(registration.error.outcome, 'upstream_unavailable');
  assert.equal(gateway.logins.length, 1);
  gateway.drop(); // and what has waited on it is not to log in on the next connection too
  await pass(30 * SECOND);
  assert.equal(gateway.logins.length, 2);
  assert.equal(registration.state, 'registered');
  assert.equal(registration.error, undefined);
  assert.equal(new Set(gateway.logins).size, 2);
});

test('a login that is rejected is made again with a fresh token', async (t) => {
  const { gateway, pass, events, at, registration } = await phone(t);
  gateway.refusals.push(-32001);
  gateway.drop();
  await pass(10 * SECOND);
  assert.equal(registration.state, 'registered');
  assert.deepEqual(at.requests.map((r) => r.headers['Cache-Control']), [undefined, 'no-cache, fresh']);
  assert.equal(gateway.logins.length, 3);
  assert.equal(story(events), 'login first, registered, connecting connection_lost, waiting login_rejected, connecting, login rejected, registered');
});

test('a renewed token that is rejected costs no connection', async (t) => {
  const { gateway, pass, events } = await phone(t);
  gateway.refusals.push(-32001);
  await pass(46 * MINUTE);
  assert.deepEqual([gateway.connections, gateway.registrations, gateway.logins.length], [1, 1, 3]);
  assert.equal(story(events), 'login first, registered, login rejected');
});

for (const { dice, waits } of [
  { dice: 0, waits: [0, 2, 4] },
  { dice: 0.999, waits: [0, 4, 8] },
]) {
  test(`rejected again and again, a login waits ${waits.join(', ')} s when the dice say ${dice}`, async (t) => {
    const { gateway, pass, registration } = await phone(t);
    gateway.always = -32001;
    gateway.drop();
    t.mock.method(Math, 'random', () => dice);
    await pass(MINUTE);
    assert.equal(registration.state, 'stopped');
    const [, ...at] = gateway.times; // without the first, which was good
    assert.deepEqual(at.slice(1).map((time, i) => Math.round((time - at[i]) / SECOND)), waits);
  });
}

test('logins that are rejected come to an end, and are told', async (t) => {
  const { gateway, pass, registration, client } = await phone(t);
  gateway.always = -32001;
  gateway.drop();
  await pass(HOUR);
  assert.equal(registration.state, 'stopped');
  assert.equal(registration.error.outcome, 'login_rejected');
  assert.equal(gateway.logins.length, 1 + 4);
  assert.ok(!client.connected);
});

test('the endless login is cut after three, tried once more, and given up', async (t) => {
  const { gateway, pass, registration, client, events, at } = await phone(t);
  gateway.always = -32000;
  gateway.drop();
  await pass(2 * SECOND);
  assert.equal(gateway.logins.length, 1 + 3);
  assert.equal(registration.state, 'waiting');
  assert.equal(registration.error.outcome, 'login_loop');
  await pass(HOUR);
  assert.equal(gateway.logins.length, 1 + 3 + 1);
  assert.notEqual(gateway.logins[4], gateway.logins[3]);
  assert.equal(at.requests[1].headers['Cache-Control'], 'no-cache, fresh');
  assert.equal(registration.state, 'stopped');
  assert.equal(registration.error.outcome, 'login_loop');
  assert.ok(!client.connected);
  assert.equal(story(events), 'login first, registered, connecting connection_lost, waiting login_loop, connecting, stopped login_loop');
});

test('an endless login that has an end is survived', async (t) => {
  const { gateway, pass, registration } = await phone(t);
  gateway.refusals.push(-32000, -32000, -32000);
  gateway.drop();
  await pass(20 * SECOND);
  assert.equal(registration.state, 'registered');
  gateway.refusals.push(-32000, -32000, -32000);
  gateway.drop();
  await pass(20 * SECOND);
  assert.equal(registration.state, 'registered', 'what is past counts on');
});

test('one -32000 is nothing', async (t) => {
  const { gateway, pass, registration } = await phone(t);
  gateway.refusals.push(-32000);
  gateway.drop();
  await pass(2 * SECOND);
  assert.equal(registration.state, 'registered');
  assert.equal(gateway.logins.length, 3);
});

test('a token that comes during a login is logged in with after it', async (t) => {
  const { gateway, pass, source, events } = await phone(t);
  gateway.held = [];
  gateway.drop();
  await pass(5 * SECOND);
  const fresh = await source.get({ fresh: true });
  assert.equal(gateway.held.length, 1);
  const [answer] = gateway.held;
  gateway.held = undefined;
  answer();
  await settle();
  assert.equal(gateway.logins.at(-1), fresh.token);
  assert.equal(story(events), 'login first, registered, connecting connection_lost, login reconnected, login refresh, registered');
});

test('the refusal of a token that is replaced meanwhile is nothing', async (t) => {
  const { gateway, pass, source, at } = await phone(t);
  gateway.held = [];
  source.get({ fresh: true });
  await settle();
  await pass(MINUTE);
  const newest = source.get({ fresh: true });
  await settle();
  const [old, next] = gateway.held;
  gateway.held = undefined;
  gateway.refusals.push(-32001);
  old();
  next();
  await pass(MINUTE);
  assert.equal(at.requests.length, 3);
  assert.equal(gateway.logins.at(-1), (await newest).token);
});

test('other refusals are waited out', async (t) => {
  const { gateway, pass, registration } = await phone(t);
  gateway.always = -32003;
  gateway.drop();
  await pass(5 * MINUTE);
  assert.equal(registration.state, 'waiting');
  assert.equal(registration.error.outcome, 'login_failed');
  assert.ok(gateway.logins.length < 20, `${gateway.logins.length} logins in 5 minutes`);
  gateway.always = undefined;
  await pass(70 * SECOND);
  assert.equal(registration.state, 'registered');
});

test('the network that is back ends the pause of a login', async (t) => {
  const { gateway, pass, registration } = await phone(t);
  gateway.always = -32003;
  gateway.drop();
  await pass(3 * MINUTE);
  gateway.always = undefined;
  await settle();
  assert.equal(registration.state, 'waiting');
  dispatchEvent(new Event('online'));
  await settle();
  assert.equal(registration.state, 'registered');
});

test('where the SDK gives up reconnecting, the phone goes on', async (t) => {
  const { gateway, pass, registration, events } = await phone(t);
  gateway.down = true;
  gateway.drop();
  await pass(30 * MINUTE);
  assert.ok(events.some((e) => e.why === 'unreachable'), story(events));
  gateway.down = false;
  await pass(2 * MINUTE);
  assert.equal(registration.state, 'registered');
  assert.ok(gateway.connections < 100, `${gateway.connections} connections in half an hour`);
});

test('a login that is never answered is not waited for for ever', async (t) => {
  const { gateway, pass, registration } = await phone(t);
  gateway.mute = true;
  gateway.drop();
  await pass(30 * SECOND);
  gateway.mute = false;
  await pass(35 * SECOND);
  assert.equal(registration.state, 'registered');
});

test('who may no longer have a token is told, and the phone stops', async (t) => {
  const { gateway, pass, registration, client, at, events } = await phone(t);
  at.script.push(() => refused('denied', 403, { detail: 'Your access has been withdrawn.' }));
  await pass(46 * MINUTE);
  assert.equal(registration.state, 'stopped');
  assert.match(registration.error.message, /^Your access has been withdrawn\. \(denied, request req-x\)$/);
  assert.ok(!client.connected);
  await pass(HOUR);
  assert.deepEqual([gateway.connections, gateway.logins.length], [1, 1]);
  assert.equal(story(events), 'login first, registered, stopped token');
});

test('a fault of the service is no reason to end a registration that lasts', async (t) => {
  const { pass, registration, at, gateway } = await phone(t);
  at.script.push(() => refused('upstream_rejected', 502));
  await pass(46 * MINUTE);
  assert.equal(registration.state, 'registered');
  gateway.drop();
  await pass(5 * SECOND);
  assert.equal(registration.state, 'registered', 'the kept token was good');
});

test('no token at all stops the phone before it connects', async (t) => {
  const { registration, gateway } = await phone(t, () => refused('no_credential', 403));
  assert.equal(registration.state, 'stopped');
  assert.equal(registration.error.outcome, 'no_credential');
  assert.equal(gateway.connections, 0);
});

test('the warning of the SDK brings a new token, when the next one is late', async (t) => {
  const { pass, at, gateway, events } = await phone(t);
  at.script.push(() => refused('upstream_rejected', 502)); // after which the source does not ask by itself
  await pass(59 * MINUTE);
  assert.deepEqual([gateway.logins.length, at.requests.length], [2, 3]);
  assert.equal(story(events), 'login first, registered, login warning');
});

test('tokens that live shorter than the warning are no reason to hurry', async (t) => {
  const short = async () => (await import('../client/testing.mjs')).issued({ expires_in: 100, refresh_in: 80 });
  const { pass, gateway } = await phone(t, ...Array(50).fill(short));
  await pass(10 * MINUTE);
  assert.equal(gateway.logins.length, 8);
});

test('where another phone takes the place, this one leaves it there', async (t) => {
  const { pass, gateway, registration } = await phone(t);
  gateway.say({ jsonrpc: '2.0', id: 'p', method: 'telnyx_rtc.punt', params: {} });
  await pass(MINUTE);
  assert.equal(registration.state, 'stopped');
  assert.equal(registration.error.outcome, 'disconnected');
  assert.equal(gateway.connections, 1);
});

test('stop() gives the client back', async (t) => {
  const { pass, client, gateway, registration, at } = await phone(t);
  const { login } = client;
  registration.stop();
  assert.equal(registration.state, 'stopped');
  assert.notEqual(client.login, login);
  assert.ok(client.connected);
  await pass(46 * MINUTE);
  assert.equal(gateway.logins.length, 1, 'it still logs in');
  assert.equal(at.requests.length, 2, 'the source is not its own');
});

test('an SDK that cannot log in again is refused', () => {
  assert.throws(() => keepRegistered({ options: {} }, {}), /2\.25\.17/);
});
