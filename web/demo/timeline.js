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
  let longest = 0; // ms that the service took for one of them
  let told = null; // the last error, whose outcome and request id need no repeating
  byId('clear').addEventListener('click', () => list.replaceChildren());

  /** Adds what has happened just now. */
  function add(event) {
    const now = performance.now();
    if (event.type === 'asking') askedAt = now;
    const total = event.type === 'token' && event.from === 'service' ? now - askedAt : null;
    longest = Math.max(longest, spent(event.timings ?? {}));
    list.style.setProperty('--longest', String(longest));
    if (list.firstElementChild && now - lastAt > quiet) list.prepend(pause(now - lastAt));
    list.prepend(item(event, total, event.error && event.error !== told));
    while (list.children.length > most) list.lastElementChild.remove();
    told = event.error ?? told;
    lastAt = now;
  }

  return { add };
}

function pause(ms) {
  return element('li', { 'data-type': 'pause' }, element('p', {}, `${roughly(ms)} later`));
}

function item(event, total, errorIsNews) {
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
      event.timings && total != null && timings(event.timings, total)));
}

function time(now) {
  const whole = now.toLocaleTimeString('en', { hourCycle: 'h23', hour: '2-digit', minute: '2-digit', second: '2-digit' });
  return element('time', { datetime: now.toISOString() },
    whole, element('small', {}, `.${String(now.getMilliseconds()).padStart(3, '0')}`));
}

/** A bar of the service's steps, as long as they took beside others, and the same in words. */
function timings(timings, total) {
  const known = steps.filter((step) => Number.isFinite(timings[step]));
  const bar = element('span', { class: 'bar', 'aria-hidden': 'true' });
  for (const step of known) {
    const part = element('i', { class: step });
    part.style.flexGrow = String(timings[step]);
    bar.append(part);
  }
  bar.style.setProperty('--took', String(spent(timings)));
  const words = known.map((step) => `${step} ${millis(timings[step])}`);
  return element('p', { class: 'timings' }, known.length > 0 && bar, element('span', {}, [...words, `in all ${millis(total)}`].join(' · ')));
}

function spent(timings) {
  return steps.reduce((sum, step) => sum + (Number.isFinite(timings[step]) ? timings[step] : 0), 0);
}
