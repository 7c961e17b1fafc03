// An app whose tokens are bound to its key (DPoP, RFC 9449), made with a library
// that is not ours, so that the proofs are what others think a proof is.
//
//   node dpop.mjs ISSUER RESOURCE
//
// It writes one JSON object a line on stdout, {"event":"login","url":…} first,
// for a person to log in at, and reads one command a line on stdin:
//
//   callback URL          where that ended; answered by {"event":"ready","token":…,"type":…}
//   MANNER URL [TOKEN]    POST to URL in one of the manners below, with TOKEN in
//                         the place of its own; answered by
//                         {"event":"answers","answers":[{"status":…,"headers":…,"body":…},…]}
//
// It ends when stdin is closed.
import { createInterface } from 'node:readline';
import * as oauth from 'oauth4webapi';

const REDIRECT = 'http://127.0.0.1:1/callback'; // never called
const LOOPBACK = { [oauth.allowInsecureRequests]: true };

const client = { client_id: 'phone' };
const [issuer, resource] = process.argv.slice(2);
const [key, strangersKey] = await Promise.all([newKey(), newKey()]);
const verifier = oauth.generateRandomCodeVerifier();
const state = oauth.generateRandomState();
let token; // once logged in

async function newKey() {
  return oauth.DPoP(client, await oauth.generateKeyPair('ES256'));
}

const as = await oauth.processDiscoveryResponse(
  new URL(issuer),
  await oauth.discoveryRequest(new URL(issuer), LOOPBACK),
);

async function loginURL() {
  const url = new URL(as.authorization_endpoint);
  url.search = new URLSearchParams({
    response_type: 'code',
    client_id: client.client_id,
    redirect_uri: REDIRECT,
    scope: 'openid token',
    resource,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  });
  return url.href;
}

async function exchange(callback) {
  const response = await oauth.authorizationCodeGrantRequest(
    as,
    client,
    oauth.None(),
    oauth.validateAuthResponse(as, client, new URL(callback), state),
    REDIRECT,
    verifier,
    { DPoP: key, additionalParameters: { resource }, ...LOOPBACK },
  );
  const granted = await oauth.processAuthorizationCodeResponse(as, client, response);
  token = granted.access_token;
  return { event: 'ready', token, type: granted.token_type };
}

// request is what the library would send, unsent: headers with their proof.
async function request(url, { token: shown = token, method = 'POST', by = key } = {}) {
  let headers;
  await oauth.protectedResourceRequest(shown, method, new URL(url), undefined, undefined, {
    DPoP: by,
    ...LOOPBACK,
    [oauth.customFetch]: async (_, options) => {
      headers = options.headers;
      return new Response();
    },
  });
  return headers;
}

// send sends them, whatever they were made for.
async function send(url, headers) {
  const response = await fetch(url, { method: 'POST', headers, signal: AbortSignal.timeout(20_000) });
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: await response.text(),
  };
}

// asApp is how an app would do it, nonces included: it tries once more when it
// is told one.
async function asApp(url, shown) {
  const answers = [];
  const attempt = () => oauth.protectedResourceRequest(shown, 'POST', new URL(url), undefined, undefined, {
    DPoP: key,
    ...LOOPBACK,
    [oauth.customFetch]: async (_, { headers }) => {
      const answer = await send(url, headers);
      answers.push(answer);
      return new Response(answer.body, answer);
    },
  });
  try {
    await attempt();
  } catch (err) {
    if (oauth.isDPoPNonceError(err)) await attempt();
    else if (!(err instanceof oauth.WWWAuthenticateChallengeError)) throw err;
  }
  return answers;
}

const manners = {
  good: asApp,

  async replay(url, shown) {
    const headers = await request(url, { token: shown });
    return [await send(url, headers), await send(url, headers)];
  },
  async crowd(url, shown) { // the same, all at once
    const headers = await request(url, { token: shown });
    return Promise.all(Array.from({ length: 16 }, () => send(url, headers)));
  },
  async 'other-url'(url, shown) {
    return [await send(url, await request(`${url}/elsewhere`, { token: shown }))];
  },
  async 'other-method'(url, shown) {
    return [await send(url, await request(url, { token: shown, method: 'PUT' }))];
  },
  async 'other-token'(url, shown) {
    const { dpop } = await request(url, { token: 'somebody-elses-token' });
    return [await send(url, { authorization: `DPoP ${shown}`, dpop })];
  },
  async 'other-key'(url, shown) {
    return [await send(url, await request(url, { token: shown, by: strangersKey }))];
  },
  async 'no-proof'(url, shown) {
    return [await send(url, { authorization: `DPoP ${shown}` })];
  },
  async bearer(url, shown) {
    return [await send(url, { authorization: `Bearer ${shown}` })];
  },
  async 'bearer-with-proof'(url, shown) {
    const { dpop } = await request(url, { token: shown });
    return [await send(url, { authorization: `Bearer ${shown}`, dpop })];
  },
};

function emit(event) {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

emit({ event: 'login', url: await loginURL() });
for await (const line of createInterface({ input: process.stdin })) {
  const [word, url, shown = token] = line.trim().split(/\s+/);
  if (word === 'callback') emit(await exchange(url));
  else if (Object.hasOwn(manners, word)) emit({ event: 'answers', answers: await manners[word](url, shown) });
  else emit({ event: 'error', text: `unknown command: ${line}` });
}
