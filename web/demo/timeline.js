// The timeline: every event, the newest first, with the service's own timings.

import { byId, element, millis, roughly } from './dom.js';
import { row } from './words.js';

const most = 200; // rows; older ones go
const quiet = 5000; // ms without an event that are worth a line
const steps = ['verify', 'directory', 'mint'];

export function createTimeline() {
  const list = byId('timeline');
  let askedAt = 0; // performance.now() of the last 'asking'
  let lastAt = null; // and of the last of all
  let told = null; // the last error, whose outcome and request id need no repeating
  byId('clear').addEventListener('click', () => list.replaceChildren());

  /** Adds what has happened just now. */
  function add(event) {
    const now = performance.now();
    if (event.type === 'asking') askedAt = now;
    const roundTrip = event.type === 'token' && event.from === 'service' ? now - askedAt : null;
    if (list.firstElementChild && now - lastAt > quiet) list.prepend(pause(now - lastAt));
    list.prepend(item(event, roundTrip, event.error && event.error !== told));
    while (list.children.length > most) list.lastElementChild.remove();
    told = event.error ?? told;
    lastAt = now;
  }

  return { add };
}

function pause(ms) {
  return element('li', { 'data-type': 'pause' }, element('p', {}, `${roughly(ms)} later`));
}

function item(event, roundTrip, errorIsNews) {
  const { title, detail, tone } = row(event);
  const outcome = errorIsNews && event.error.outcome;
  const requestId = event.requestId ?? (errorIsNews && event.error.requestId);
  return element('li', { 'data-type': event.type, 'data-tone': tone },
    time(new Date()),
    element('div', {},
      element('p', { class: 'title' }, title),
      (detail || outcome || requestId) && element('p', { class: 'detail' },
        detail && element('span', {}, detail),
        outcome && element('code', {}, outcome),
        requestId && element('code', { title: 'request id: the same in the service’s log' }, requestId)),
      event.timings && roundTrip != null && timings(event.timings, roundTrip)));
}

function time(now) {
  const whole = now.toLocaleTimeString('en', { hourCycle: 'h23', hour: '2-digit', minute: '2-digit', second: '2-digit' });
  return element('time', { datetime: now.toISOString() },
    whole, element('small', {}, `.${String(now.getMilliseconds()).padStart(3, '0')}`));
}

/** A bar of the whole round trip, with the service's steps in it, and the same in words. */
function timings(timings, roundTrip) {
  const known = steps.filter((step) => Number.isFinite(timings[step]));
  const inside = known.reduce((sum, step) => sum + timings[step], 0);
  const whole = Math.max(roundTrip, inside, 0.001);
  const bar = element('span', { class: 'bar', 'aria-hidden': 'true' });
  for (const step of known) bar.append(part(step, timings[step] / whole));
  bar.append(part('rest', (whole - inside) / whole));
  const words = known.map((step) => `${step} ${millis(timings[step])}`);
  return element('p', { class: 'timings' }, bar, element('span', {}, [...words, `round trip ${millis(whole)}`].join(' · ')));
}

function part(step, share) {
  const made = element('i', { class: step });
  made.style.flexGrow = String(share);
  return made;
}
