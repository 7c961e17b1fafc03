// Every sentence about what happens, for the person whose phone it is. Facts come
// in, words go out: nothing here touches the page.

import { roughly } from './dom.js';

// For each outcome: what is so (told while the phone tries again, too), and what the
// person can do once it has stopped. The service's own sentence goes beside them.
const outcomes = {
  network: ['The service cannot be reached', 'Look whether you are online, and whether the service is running.'],
  bad_answer: ['What answers is not the service', 'Something between here and the service answers in its place. Tell whoever runs it.'],
  unauthenticated: ['You are not signed in', 'Sign in again.'],
  invalid_token: ['Your sign-in does not count any more', 'Sign in again.'],
  denied: ['You may not have a phone', 'Whoever gives out phones can change that; trying again cannot.'],
  no_credential: ['No phone has been set up for you', 'You are known, and have no number yet. Ask whoever gives out phones.'],
  provisioning: ['Your phone is being set up', 'It takes a few seconds.'],
  rate_limited: ['This phone asks too often', 'Wait a moment.'],
  issuer_unavailable: ['Sign-ins cannot be checked at this moment', 'It is not about you; try again in a while.'],
  directory_unavailable: ['Phones cannot be looked up at this moment', 'It is not about you; try again in a while.'],
  credential_rejected: ['Telnyx does not accept your phone', 'An operator has to set it up anew; the request id helps to find out why.'],
  upstream_rejected: ['Telnyx does not accept the service', 'An operator has to look at the service’s key. It is not about you.'],
  upstream_limited: ['Telnyx wants fewer requests', 'It is not about you; try again in a while.'],
  upstream_unavailable: ['Telnyx cannot be reached', 'It is not about you; try again in a while.'],
  upstream_timeout: ['Telnyx does not answer in time', 'It is not about you; try again in a while.'],
  overloaded: ['The service has its hands full', 'Try again in a moment.'],
  login_loop: ['Telnyx sends every login back', 'The phone stopped by itself, so as not to knock without end. Try again in a while.'],
  login_rejected: ['Telnyx does not accept the logins', 'Fresh tokens did not help. An operator has to look.'],
};

/**
 * What an error means: {title, said, advice, signIn}. said is the service's own
 * sentence; signIn: only signing in again helps.
 */
export function meaning(error) {
  const outcome = error?.outcome;
  const [title, advice] = outcomes[outcome] ?? ['The phone cannot go on', 'Tell whoever runs the service what is written here.'];
  const said = error?.status ? error.message.replace(/ \([^()]*\)$/, '') : '';
  return { title, said, advice, signIn: outcome === 'invalid_token' || outcome === 'unauthenticated' };
}

/** A registration state in a word or two. */
export const stateWord = {
  connecting: 'Connecting',
  registered: 'Registered',
  waiting: 'Waiting',
  stopped: 'Stopped',
  absent: 'No phone, only tokens',
};

/**
 * What the phone is doing, in one sentence that stays true until something happens.
 * @param {{state: string, token: object|null, trouble: object|null, on: Set<string>, sdkMissing: string|null}} facts
 */
export function doing({ state, token, trouble, on, sdkMissing }) {
  const left = token && token.expiresAt - Date.now();
  if (state === 'stopped') return 'This phone does not ring, and does not try any more.';
  if (trouble) return `${meaning(trouble).title}. ${whileTrying(state, left)}`;
  if (state === 'absent') return sdkMissing;
  if (state === 'waiting') return 'The connection is gone, and the phone comes back by itself.';
  if (state === 'connecting') return token ? 'It logs in at Telnyx’s gateway with its token.' : 'It asks the service for a token.';
  return registered(token, on, left);
}

function whileTrying(state, left) {
  if (!(left > 0)) return 'The phone asks again, and does not ring until there is a token.';
  const good = `the token it has is good for ${roughly(left)}`;
  if (state === 'registered') return `It still rings: ${good}. It goes on asking for the next one.`;
  return `It goes on asking; ${good}.`;
}

function registered(token, on, left) {
  if (on.has('telnyx-down')) return `It rings, and notices nothing: its token is good for ${roughly(left)}. Get one now to see what it does.`;
  if (on.has('key-rejected')) return `It rings, and notices nothing: its token is good for ${roughly(left)}. An operator has that long to mend the key.`;
  return 'It rings when somebody calls. Its next token comes before this one ends, on the same connection.';
}

/** An event as a row of the timeline: {title, detail, tone}. */
export function row(event) {
  const write = rows[event.type];
  return write ? write(event) : { title: event.type, tone: 'plain' };
}

const rows = {
  'signed-in': ({ person }) => ({ title: `Signed in as ${person}`, detail: 'authorization code with PKCE', tone: 'plain' }),
  bearer: () => ({ title: 'The issuer gave a new bearer', detail: 'by refresh token, nobody was asked', tone: 'plain' }),
  asking: ({ attempt, fresh }) => ({
    title: attempt > 1 ? `Asks again, attempt ${attempt}` : 'Asks the service for a token',
    detail: fresh ? 'for a fresh one, none that the service has kept' : '',
    tone: 'busy',
  }),
  token: ({ from, expiresAt }) => ({
    title: from === 'tab' ? 'Token from another tab' : 'Token',
    detail: `good for ${roughly(expiresAt - Date.now())}${from === 'tab' ? '; the service was not asked' : ''}`,
    tone: 'good',
  }),
  retrying: ({ error, delay }) => ({ title: `No token: ${lower(meaning(error).title)}`, detail: `asks again in ${roughly(delay)}`, tone: 'wait' }),
  failed: ({ error }) => ({ title: `No token: ${lower(meaning(error).title)}`, detail: 'asking again would not help', tone: 'bad' }),
  state: ({ state, error }) => ({
    title: stateWord[state] ?? state,
    detail: error ? lower(meaning(error).title) : '',
    tone: { registered: 'good', waiting: 'wait', stopped: 'bad' }[state] ?? 'busy',
  }),
  login: ({ reason }) => ({ title: logins[reason] ?? 'Logs in', detail: '', tone: 'busy' }),
  sdk: ({ what, code }) => ({ title: sdk[what] ?? what, detail: code ? `SDK code ${code}` : '', tone: { error: 'bad', open: 'plain' }[what] ?? 'wait' }),
  misfortune: ({ title, on }) => ({ title: on === false ? `Over: ${title}` : title, detail: 'your doing', tone: 'you' }),
};

const logins = {
  first: 'Logs in',
  refresh: 'Logs in with the new token, on the same connection',
  warning: 'Telnyx warns that the token ends: logs in with another',
  rejected: 'Logs in with a fresh token',
  reconnected: 'Logs in on a new connection',
};

const sdk = {
  open: 'Connection open',
  closed: 'Connection closed',
  error: 'Telnyx’s SDK reports an error',
  warning: 'Telnyx’s SDK warns',
};

const lower = (sentence) => (/^[A-Z][a-z]/.test(sentence) && !sentence.startsWith('Telnyx') ? sentence[0].toLowerCase() + sentence.slice(1) : sentence);

/** What each misfortune is, in the few words that fit below its name. */
export const misfortuneHints = {
  expire: 'Telnyx refuses it at once',
  'lose-connection': 'The socket is dropped',
  'telnyx-down': 'No new tokens are made',
  'key-rejected': 'An operator’s mistake',
  offboard: 'An admin disables you',
  'login-loop': 'The SDK would try forever',
};
