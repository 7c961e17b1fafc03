// The ring: how much of the token's life is left, and when the next one comes.

import { byId, clock, countdown, roughly, say } from './dom.js';

/**
 * Shows a token {expiresAt, refreshAt, lifetime} as it is at this moment; null: there
 * is none. retryAt: when the service is asked again after it gave none; failed: it is
 * not asked again.
 */
export function showLife({ token, retryAt, failed }, now = Date.now()) {
  const left = token ? Math.max(0, token.expiresAt - now) : 0;
  const share = token ? Math.min(1, left / token.lifetime) : 0;
  byId('token').dataset.state = stateOf(token, now);
  draw(byId('life'), share, token?.expiresAt);
  turn(byId('renewal'), token);
  say(byId('left'), token ? countdown(left) : '–');
  say(byId('until'), token ? `until ${clock(token.expiresAt, now)}` : 'no token yet');
  showNext(token, now, retryAt, failed);
}

function stateOf(token, now) {
  if (!token) return 'none';
  if (now >= token.expiresAt) return 'expired';
  return now >= token.refreshAt ? 'due' : 'good';
}

/** The arc as long as its share; a new token's is drawn from nothing, so that one sees it come. */
function draw(arc, share, which = '') {
  if (arc.dataset.which !== String(which)) {
    arc.dataset.which = which;
    arc.style.transition = 'none';
    arc.style.strokeDashoffset = '1';
    arc.getBoundingClientRect(); // the browser has to have seen it
    arc.style.transition = '';
  }
  arc.style.strokeDashoffset = String(1 - share);
}

/** The mark is where the arc will end when the next token is due. */
function turn(mark, token) {
  mark.toggleAttribute('hidden', !token);
  if (!token) return;
  const share = (token.expiresAt - token.refreshAt) / token.lifetime;
  mark.style.transform = `rotate(${360 * Math.min(1, Math.max(0, share))}deg)`;
}

function showNext(token, now, retryAt, failed) {
  const trying = retryAt > now;
  const due = trying ? retryAt : (token?.refreshAt ?? 0);
  say(byId('what'), trying ? 'Next try' : 'Next token');
  say(byId('next'), failed ? 'none' : due > now ? `in ${roughly(due - now)}` : token ? 'due now' : 'on its way');
  say(byId('how'), failed ? 'unless you ask' : token && !trying ? 'by itself, at the mark' : 'by itself');
}
