// A web softphone as its developer would begin it: signs a person in at the
// identity provider (authorization code with PKCE, by redirect), and asks the
// service for a login token with what it was given, which it binds to a key of
// its own (DPoP) if /config.json says so. It shows how that went as JSON:
// {"status":…,"headers":…,"body":…}, or {"error":…} if it could not ask.
import * as oauth from '/oauth4webapi.mjs';

const LOOPBACK = { [oauth.allowInsecureRequests]: true };

const { issuer, resource, service, dpop } = await (await fetch('/config.json')).json();
const client = { client_id: 'phone' };
const redirect = `${location.origin}/callback`;
const as = await oauth.processDiscoveryResponse(
  new URL(issuer),
  await oauth.discoveryRequest(new URL(issuer), LOOPBACK),
);

async function signIn() {
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  sessionStorage.setItem('signing-in', JSON.stringify({ verifier, state }));
  const url = new URL(as.authorization_endpoint);
  url.search = new URLSearchParams({
    response_type: 'code',
    client_id: client.client_id,
    redirect_uri: redirect,
    scope: 'openid token',
    resource,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  });
  location.assign(url);
}

async function signedIn(options) {
  const callback = new URL(location.href);
  const { verifier, state } = JSON.parse(sessionStorage.getItem('signing-in'));
  sessionStorage.removeItem('signing-in');
  history.replaceState(null, '', '/'); // a code is not for the history
  const response = await oauth.authorizationCodeGrantRequest(
    as,
    client,
    oauth.None(),
    oauth.validateAuthResponse(as, client, callback, state),
    redirect,
    verifier,
    { additionalParameters: { resource }, ...options },
  );
  return (await oauth.processAuthorizationCodeResponse(as, client, response)).access_token;
}

async function loginToken(bearer, options) {
  const url = new URL(`${service}/v1/token`);
  const ask = () => oauth.protectedResourceRequest(bearer, 'POST', url, undefined, undefined, options);
  let response;
  try {
    response = await ask().catch((err) => {
      if (oauth.isDPoPNonceError(err)) return ask(); // which knows the nonce now
      throw err;
    });
  } catch (err) {
    if (!(err instanceof oauth.WWWAuthenticateChallengeError)) throw err;
    response = err.response;
  }
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: await response.text(),
  };
}

function say(what) {
  document.querySelector('output').textContent = JSON.stringify(what);
}

const button = document.querySelector('button');
button.addEventListener('click', signIn);
button.disabled = false;
if (location.pathname === '/callback') {
  try {
    const options = { ...LOOPBACK };
    if (dpop) options.DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'));
    say(await loginToken(await signedIn(options), options));
  } catch (err) {
    say({ error: String(err) });
  }
}
