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
  denied: ['You are not allowed a phone', 'Whoever gives out phones can change that; trying again cannot.'],
  no_credential: ['No phone has been set up for you', 'You are known, and have no number yet. Ask whoever gives out phones.'],
  provisioning: ['Your phone is being set up', 'It takes a few seconds.'],
  rate_limited: ['This phone asks too often', 'Wait a moment.'],
  issuer_unavailable: ['Sign-ins cannot be checked at this moment', 'It is not about you; try again in a while.'],
  directory_unavailable: ['Phones cannot be looked up at this moment', 'It is not about you; try again in a while.'],
  credential_rejected: ['Telnyx does not accept your phone', 'An operator has to set it up anew. It helps to tell the request id.'],
  upstream_rejected: ['Telnyx does not accept the service', 'An operator has to look at the service’s key. It is not about you.'],
  upstream_limited: ['Telnyx wants fewer requests', 'It is not about you; try again in a while.'],
  upstream_unavailable: ['Telnyx cannot be reached', 'It is not about you; try again in a while.'],
  upstream_timeout: ['Telnyx does not answer in time', 'It is not about you; try again in a while.'],
  internal: ['Something went wrong in the service', 'It is not about you; it helps to tell the request id.'],
  audit_unavailable: ['The service cannot write down what it does', 'So it hands nothing out. It is not about you; try again in a while.'],
  overloaded: ['The service has its hands full', 'Try again in a moment.'],
  bearer_failed: ['Your sign-in has ended', 'Sign in again.'],
  login_loop: ['Telnyx sends every login back', 'The phone has stopped by itself, so as not to knock without end. Start it again in a while.'],
  login_rejected: ['Telnyx does not accept the logins', 'Fresh tokens did not help. An operator has to look.'],
  login_failed: ['Telnyx does not answer the login', 'It is not about you; try again in a while.'],
  disconnected: ['The phone was sent away', 'Another phone has taken its place, or it was told to go.'],
};

/**
 * What an error means: {title, said, advice, signIn}. said is the service's own
 * sentence; signIn: only signing in again helps.
 */
export function meaning(error) {
  const outcome = error?.outcome;
  const [title, advice] = outcomes[outcome] ?? ['The phone cannot go on', 'Tell whoever runs the service what is written here.'];
  const said = error?.status ? error.message.replace(/ \([^()]*\)$/, '') : '';
  return { title, said, advice, signIn: ['invalid_token', 'unauthenticated', 'bearer_failed'].includes(outcome) };
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
 * What the phone is doing, in one sentence or two that stay true until something happens.
 * @param {object} facts
 * @param {string} facts.state
 * @param {string} [facts.why] as the module says it
 * @param {{expiresAt: number}|null} facts.token
 * @param {Error|null} facts.trouble why there is no newer token
 * @param {boolean} facts.failed whether it is no longer asked for
 * @param {Set<string>} facts.on misfortunes that last
 * @param {string|null} facts.sdkMissing
 */
export function doing({ state, why, token, trouble, failed, on, sdkMissing }) {
  const left = token ? token.expiresAt - Date.now() : 0;
  if (state === 'stopped') return 'It does not ring, and has stopped trying.';
  if (trouble) return `${meaning(trouble).title}. ${without(state, left, failed)}`;
  if (state === 'absent') return sdkMissing;
  if (state === 'waiting') return waits[why] ?? 'It waits a moment, and tries again by itself.';
  if (state === 'connecting' && why === 'connection_lost') return 'The connection is gone. It comes back by itself, with the token it has.';
  if (state === 'connecting') return token ? 'It logs in at Telnyx’s gateway with its token.' : 'It asks the service for a token.';
  return registered(token, on, left);
}

const waits = {
  login_loop: 'Telnyx had it log in again and again. It has cut that off, waits, and tries once more with another token.',
  login_rejected: 'Telnyx does not accept its login. It gets a fresh token, and tries again.',
  login_failed: 'Telnyx does not answer its login. It waits a moment, and connects anew.',
  unreachable: 'Telnyx’s gateway cannot be reached. It tries again by itself.',
};

/** What it means to be without a newer token. */
function without(state, left, failed) {
  const goesOn = failed ? 'It has stopped asking for the next one.' : 'It goes on asking for the next one.';
  if (left > 0 && state === 'registered') return `The phone still rings: its token is good for ${roughly(left)}. ${goesOn}`;
  return failed ? 'The phone has stopped asking.' : 'The phone asks again, and does not ring until there is a token.';
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
  state: ({ state, why, error }) => ({
    title: stateWord[state] ?? state,
    detail: whys[why] ?? (error ? lower(meaning(error).title) : ''),
    tone: { registered: 'good', waiting: 'wait', stopped: 'bad', absent: 'plain' }[state] ?? 'busy',
  }),
  login: ({ reason }) => ({ title: 'Logged in', detail: logins[reason], tone: 'good' }),
  sdk: ({ what, code }) => ({ title: sdk[what] ?? what, detail: code ? `${code}${codes[code] ? `: ${codes[code]}` : ''}` : '', tone: { error: 'bad', open: 'plain' }[what] ?? 'wait' }),
  misfortune: ({ title, on }) => ({ title: on === false ? `Over: ${title}` : title, detail: 'your doing', tone: 'you' }),
};

const logins = {
  refresh: 'with the new token, on the same connection',
  warning: 'with another token, since Telnyx warned that the last one ends',
  rejected: 'with a fresh token, since Telnyx refused the last one',
  reconnected: 'on a new connection',
};

const whys = {
  connection_lost: 'the connection is gone',
  unreachable: 'Telnyx’s gateway cannot be reached',
  stop: 'it was told to',
};

const sdk = {
  open: 'Connection open',
  closed: 'Connection closed',
  error: 'Telnyx’s SDK reports an error',
  warning: 'Telnyx’s SDK warns',
};

// What the SDK's numbers mean that are met here.
const codes = {
  34001: 'the token ends within two minutes',
  45003: 'it has given up connecting again',
  46001: 'the login was refused',
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
