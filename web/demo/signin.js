// Signing in: OAuth's authorization code with PKCE in a redirect (RFC 7636), as a
// page in production does it. Tokens stay in this module's memory; sessionStorage
// holds the state and the verifier, only while the browser is at the issuer.

const pendingKey = 'sign-in';
const margin = 30_000; // ms before a bearer's end when it is no longer handed out
const patience = 15_000; // ms for each answer of the issuer

/** What is wrong with signing in, in a sentence of ours. outcome is as of a TokenError. */
export class SignInError extends Error {
  constructor(sentence, outcome = '') {
    super(sentence);
    this.outcome = outcome;
    this.retryable = outcome === 'network';
  }
}

/**
 * @param {{issuer: string, client_id: string, scope: string}} config
 * @param {() => void} onRenewed is told when the issuer has given another bearer
 */
export function createSignIn(config, onRenewed) {
  const redirect = new URL('/', location.href).href;
  let session = null; // {bearer, refresh, endsAt, person}
  let renewing = null; // one renewal at a time: a refresh token counts once
  let discovered = null;

  function discover() {
    discovered ??= ask(`${config.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
    discovered.catch(() => { discovered = null; });
    return discovered;
  }

  /** Leaves for the issuer. other: asks who it is even if the issuer knows. */
  async function begin({ other = false } = {}) {
    const { authorization_endpoint } = await discover();
    const [state, verifier] = [random(), random()];
    sessionStorage.setItem(pendingKey, JSON.stringify({ state, verifier }));
    const to = new URL(authorization_endpoint);
    const query = {
      response_type: 'code', client_id: config.client_id, redirect_uri: redirect, scope: config.scope,
      state, code_challenge: await challenge(verifier), code_challenge_method: 'S256',
      ...(other && { prompt: 'login' }),
    };
    for (const [key, value] of Object.entries(query)) to.searchParams.set(key, value);
    location.assign(to);
  }

  /** Ends what begin began, if the browser has just come back. Answers the person, or null. */
  async function finish() {
    const answer = new URLSearchParams(location.search);
    const pending = JSON.parse(sessionStorage.getItem(pendingKey) ?? 'null');
    if (!answer.has('code') && !answer.has('error')) return null;
    sessionStorage.removeItem(pendingKey);
    history.replaceState(null, '', location.pathname); // the code is nobody else's business
    if (!pending || answer.get('state') !== pending.state) {
      throw new SignInError('This is the answer to a sign-in that this tab did not begin.');
    }
    if (answer.has('error')) throw new SignInError(refusal(answer.get('error')));
    await exchange({
      grant_type: 'authorization_code', code: answer.get('code'),
      redirect_uri: redirect, code_verifier: pending.verifier,
    });
    return session.person;
  }

  async function exchange(grant) {
    const { token_endpoint } = await discover();
    const body = new URLSearchParams({ ...grant, client_id: config.client_id });
    const sentAt = Date.now();
    const before = session;
    const answer = await ask(token_endpoint, { method: 'POST', body });
    if (session !== before) throw new SignInError('You have signed out meanwhile.', 'unauthenticated');
    session = {
      bearer: answer.access_token,
      refresh: answer.refresh_token ?? grant.refresh_token ?? null,
      endsAt: sentAt + (answer.expires_in ?? 300) * 1000,
      person: personOf(answer.access_token),
    };
  }

  async function renew() {
    if (!session?.refresh) throw new SignInError('Your sign-in has ended.', 'unauthenticated');
    renewing ??= exchange({ grant_type: 'refresh_token', refresh_token: session.refresh })
      .finally(() => { renewing = null; });
    await renewing;
    onRenewed();
  }

  /** What createTokenSource asks for: a bearer that is good, another one if the last was rejected. */
  async function bearer({ rejected = false } = {}) {
    if (!session) throw new SignInError('Nobody is signed in.', 'unauthenticated');
    if (rejected || Date.now() > session.endsAt - margin) await renew();
    return session.bearer;
  }

  return { begin, finish, bearer, forget: () => { session = null; } };
}

async function ask(url, options = {}) {
  let answer;
  try {
    answer = await fetch(url, {
      ...options, credentials: 'omit', referrerPolicy: 'no-referrer', signal: AbortSignal.timeout(patience),
    });
  } catch {
    throw new SignInError('The issuer cannot be reached.');
  }
  if (!answer.ok) throw new SignInError(`The issuer said no, with status ${answer.status}.`);
  return answer.json();
}

/** The issuer's error is in the address, where anybody can write: only its code is told. */
function refusal(code) {
  if (code === 'access_denied') return 'You have not been signed in: the issuer, or you, said no.';
  return `You have not been signed in: the issuer answered ${/^[a-z_]{1,40}$/.test(code) ? code : 'something unknown'}.`;
}

/** Who the bearer is about, for the eye only: nothing here checks it, the service does. */
function personOf(bearer) {
  try {
    const payload = bearer.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    const bytes = Uint8Array.from(atob(payload), (c) => c.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return String(claims.preferred_username ?? claims.sub ?? 'somebody').slice(0, 60);
  } catch {
    return 'somebody';
  }
}

function random() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

async function challenge(verifier) {
  return base64url(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier))));
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
