// The page's story: read what dev says, sign in, start the phone, show what happens.

import { cause, readConfig } from './config.js';
import { byId, element } from './dom.js';
import { showLife } from './life.js';
import { createMisfortunes } from './misfortunes.js';
import { createPhone } from './phone.js';
import { showProblem } from './problem.js';
import { showRegistration } from './registration.js';
import { createSignIn } from './signin.js';
import { createTimeline } from './timeline.js';

main().catch((error) => {
  view('welcome');
  showProblem(error);
});

async function main() {
  const config = await readConfig();
  showPeople(config.people);
  const timeline = createTimeline();
  const signIn = createSignIn(config, () => timeline.add({ type: 'bearer' }));
  const begin = (other) => signIn.begin({ other }).catch(showProblem);
  const signedOut = location.search === '?signed-out'; // the issuer would know who it was
  byId('sign-in').addEventListener('click', () => begin(signedOut));
  if (location.search === '?tab') return begin(false); // a second tab: the same person, unasked

  const person = await signIn.finish();
  if (!person) return view('welcome');
  view('phone', person);
  timeline.add({ type: 'signed-in', person });
  const [client, TelnyxRTC] = await Promise.all([readModule(config), readSDK(config)]);
  runPhone({ config, person, signIn, begin, timeline, client, TelnyxRTC });
}

async function readModule({ service }) {
  try {
    return await import(`${service}/client.js`);
  } catch {
    throw new Error(`The service at ${service} does not hand out its module. Is tokensvc dev still running?`);
  }
}

async function readSDK({ sdk }) {
  return sdk ? (await import(new URL(sdk, location.href))).TelnyxRTC : null;
}

function runPhone({ config, person, signIn, begin, timeline, client, TelnyxRTC }) {
  const facts = { state: TelnyxRTC ? 'connecting' : 'absent', token: null, trouble: null, retryAt: 0, on: new Set(), sdkMissing: config.sdk_missing };
  const shows = config.people.find(({ name, shows }) => name === person && shows.includes(':'))?.shows ?? null;
  const phone = createPhone({ client, TelnyxRTC, config, bearer: signIn.bearer, onEvent });
  const misfortunes = createMisfortunes((name, on) => cause(name, person, on), onEvent);

  function onEvent(event) {
    timeline.add(event);
    learn(facts, event);
    show();
  }

  function show() {
    facts.on = misfortunes.on();
    showRegistration(facts);
    showLife(facts);
    const stopped = facts.state === 'stopped' || facts.failed;
    showProblem(stopped ? facts.trouble : null, { signIn: begin, shows });
    byId('again').hidden = !stopped;
    byId('supply').hidden = stopped;
  }

  byId('renew').addEventListener('click', () => phone.renew());
  byId('again').addEventListener('click', () => {
    phone.stop();
    Object.assign(facts, { state: 'connecting', token: null, trouble: null, retryAt: 0, failed: false });
    phone.start();
    show();
  });
  byId('leave').addEventListener('click', () => {
    phone.stop();
    signIn.forget();
    location.assign('./?signed-out');
  });
  misfortunes.show(config.misfortunes);
  phone.start();
  show();
  setInterval(() => showLife(facts), 1000);
}

/** What an event changes in what is known. */
function learn(facts, event) {
  if (event.type === 'token') {
    const { expiresAt, refreshAt } = event;
    facts.token = { expiresAt, refreshAt, lifetime: expiresAt - Date.now() };
    facts.trouble = null;
    facts.failed = false;
  }
  if (event.type === 'asking' || event.type === 'token') facts.retryAt = 0;
  if (event.type === 'retrying') facts.retryAt = Date.now() + event.delay;
  if (event.type === 'retrying' || event.type === 'failed') facts.trouble = event.error;
  if (event.type === 'failed') facts.failed = true;
  if (event.type === 'state') {
    facts.state = event.state;
    if (event.error) facts.trouble = event.error;
    if (event.state === 'stopped') facts.token = null;
  }
}

function view(name, person = '') {
  for (const part of document.querySelectorAll('[data-view]')) part.hidden = part.dataset.view !== name;
  if (name === 'phone') byId('supply').before(byId('problem')); // it takes the ring's place
  byId('person').textContent = person;
  byId('initial').textContent = person.slice(0, 1).toUpperCase();
}

/** "is refused by a rule: denied" is told with its outcome as code. */
function showPeople(people) {
  byId('people').append(...people.flatMap(({ name, shows }) => {
    const [what, outcome] = shows.split(': ');
    return [element('dt', {}, name), element('dd', {}, what, outcome && ' ', outcome && element('code', {}, outcome))];
  }));
}
