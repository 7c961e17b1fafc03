// The timeline: every event, the newest first, with the service's own timings.

import { byId, element, millis } from './dom.js';
import { row } from './words.js';

const most = 200; // rows; older ones go
const steps = ['verify', 'directory', 'mint'];

export function createTimeline() {
  const list = byId('timeline');
  let askedAt = 0; // performance.now() of the last 'asking'
  byId('clear').addEventListener('click', () => list.replaceChildren());

  /** Adds what has happened just now. */
  function add(event) {
    if (event.type === 'asking') askedAt = performance.now();
    const roundTrip = event.type === 'token' && event.from === 'service' ? performance.now() - askedAt : null;
    list.prepend(item(event, roundTrip));
    while (list.children.length > most) list.lastElementChild.remove();
  }

  return { add };
}

function item(event, roundTrip) {
  const { title, detail, tone } = row(event);
  const requestId = event.requestId ?? event.error?.requestId;
  const outcome = event.error?.outcome;
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
