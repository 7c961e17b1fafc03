// The page's story: read what dev says, sign in, start the phone, show what happens.

import { cause, readConfig } from './config.js';
import { byId, element } from './dom.js';
import { learn, nothing } from './facts.js';
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
  const facts = { ...nothing, on: new Set(), sdkMissing: config.sdk_missing };
  const shows = config.people.find(({ name, shows }) => name === person && shows.includes(':'))?.shows ?? null;
  const phone = createPhone({ client, TelnyxRTC, config, bearer: signIn.bearer, onEvent });
  const misfortunes = createMisfortunes({
    cause: (name, on) => cause(name, person, on),
    onCaused: onEvent,
    onStand(on) {
      facts.on = on;
      show();
    },
  });

  function onEvent(event) {
    timeline.add(event);
    learn(facts, event);
    show();
  }

  function show() {
    showRegistration(facts);
    showLife(facts);
    const stopped = facts.state === 'stopped' || (facts.failed && !facts.token);
    showProblem(stopped ? (facts.error ?? facts.trouble) : null, { signIn: begin, shows });
    byId('again').hidden = !stopped;
    byId('supply').hidden = stopped;
  }

  byId('renew').addEventListener('click', () => phone.renew());
  byId('again').addEventListener('click', () => {
    phone.stop();
    Object.assign(facts, nothing);
    phone.start();
    show();
    byId('renew').focus(); // the button that had it is gone
  });
  byId('leave').addEventListener('click', () => {
    phone.stop();
    signIn.forget();
    location.assign('./?signed-out');
  });
  misfortunes.show(config.misfortunes);
  phone.start();
  setInterval(() => showLife(facts), 1000);
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
