// The ring: how much of the token's life is left, and when the next one comes.

import { byId, clock, countdown, roughly, say } from './dom.js';

/** Shows a token {expiresAt, refreshAt, lifetime} as it is at this moment; null: there is none. */
export function showLife(token, now = Date.now()) {
  const figure = byId('token');
  const left = token ? Math.max(0, token.expiresAt - now) : 0;
  const share = token ? Math.min(1, left / token.lifetime) : 0;
  figure.dataset.state = stateOf(token, now);
  byId('life').style.strokeDashoffset = String(1 - share);
  turn(byId('renewal'), token);
  say(byId('left'), token ? countdown(left) : '–');
  say(byId('until'), token ? `until ${clock(token.expiresAt, now)}` : 'no token yet');
  say(byId('renewed'), renewal(token, now));
}

function stateOf(token, now) {
  if (!token) return 'none';
  if (now >= token.expiresAt) return 'expired';
  return now >= token.refreshAt ? 'due' : 'good';
}

/** The mark is where the ring's end will be when the next token is due. */
function turn(mark, token) {
  mark.toggleAttribute('hidden', !token);
  if (!token) return;
  const share = (token.expiresAt - token.refreshAt) / token.lifetime;
  mark.style.transform = `rotate(${360 * Math.min(1, Math.max(0, share))}deg)`;
}

function renewal(token, now) {
  if (!token) return '';
  const wait = token.refreshAt - now;
  if (wait <= 0) return 'The next one is due.';
  return `The next one comes by itself in ${roughly(wait)}.`;
}
