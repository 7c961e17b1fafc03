// A real OpenID provider (the certified oidc-provider) on loopback, for tests
// that must not trust our own idea of what a provider does.
//
//   node provider.mjs [port]        the port may also come from PORT; 0, the default, takes a free one
//
// It writes one JSON object a line on stdout, {"event":"ready","issuer":…,"kids":[…]}
// first, and reads one command a line on stdin:
//
//   rotate keep     sign with a new key from now on, publish the old ones too
//   rotate drop     sign with a new key from now on, publish only that
//   trust JWK       let the client tokensvc-key sign its assertions with this key
//
// answered by {"event":"rotated","kids":[…]}, the signing key first, and by
// {"event":"trusted",…}. It ends on SIGTERM, on SIGINT, and when stdin is
// closed, so it cannot outlive the test that started it.
//
// Everything here is public knowledge and nothing is worth protecting: any
// login name and password are accepted, and the login name becomes `sub`.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

// stdout belongs to our events; the library's notices go to stderr.
console.log = console.info = console.error;

const { Provider, errors } = await import('oidc-provider');

// Where an access token is for, and what it looks like. A resource indicator
// must be an absolute URI (RFC 8707), which aud in the token need not be.
const RESOURCES = {
  'urn:tokensvc:softphone': { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } },
  'urn:tokensvc:opaque': { accessTokenFormat: 'opaque' },
};
const AUDIENCE = 'softphone';

// Groups of the people who can log in; anyone else is in none.
const GROUPS = { alice: ['agents', 'supervisors'], bob: ['agents'] };

const clients = [
  {
    // A softphone: public, authorization code with PKCE. Being native, it may
    // use any port of the loopback redirect (RFC 8252 section 7.3).
    client_id: 'phone',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    redirect_uris: ['http://127.0.0.1/callback'],
    grant_types: ['authorization_code'],
    response_types: ['code'],
  },
  // Machines: sub is the client's own id.
  ...['lobby', 'stranger'].map((id) => ({
    client_id: id,
    client_secret: `${id}-secret`,
    redirect_uris: [],
    grant_types: ['client_credentials'],
    response_types: [],
  })),
  // The service itself, which gets no tokens and may ask about those of others.
  {
    client_id: 'tokensvc',
    client_secret: 'tokensvc-secret',
    token_endpoint_auth_method: 'client_secret_basic',
    redirect_uris: [],
    grant_types: [],
    response_types: [],
  },
];

// The same with a key of its own, once it is told which. An assertion may be
// signed with whatever algorithm fits the key.
function keyClient(jwk) {
  return {
    client_id: 'tokensvc-key',
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [jwk] },
    redirect_uris: [],
    grant_types: [],
    response_types: [],
  };
}

let trusted; // the public JWK of tokensvc-key, or undefined
let keys = []; // private JWKs, the signing one first

function addKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  keys = [{
    ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg: 'RS256', use: 'sig',
  }, ...keys];
}

function configuration() {
  return {
    clients: trusted ? [...clients, keyClient(trusted)] : clients,
    jwks: { keys },
    cookies: { keys: ['only for tests'] },
    pkce: { required: () => true },
    ttl: {
      AccessToken: 600, ClientCredentials: 600, IdToken: 600, Grant: 600, Interaction: 600, Session: 600,
    },
    findAccount: (ctx, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.test`, email_verified: true }),
    }),
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    extraTokenClaims: (ctx, token) => ({ groups: GROUPS[token.accountId] ?? [] }),
    // A page that signs people in exchanges its code by fetch. As with redirects,
    // any port of loopback will do.
    clientBasedCORS: (ctx, origin, client) => client.clientId === 'phone'
      && new URL(origin).hostname === '127.0.0.1',
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true }, // the login and consent pages
      dPoP: { enabled: true }, // for whoever sends a proof
      introspection: {
        enabled: true,
        allowedPolicy: (ctx, client) => ['tokensvc', 'tokensvc-key'].includes(client.clientId),
      },
      revocation: { enabled: true }, // by the client that was given the token
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (ctx, resource) => {
          const format = Object.hasOwn(RESOURCES, resource) && RESOURCES[resource];
          if (!format) throw new errors.InvalidTarget();
          return { audience: AUDIENCE, scope: 'token', ...format };
        },
        // What was granted is what the code is exchanged for, whether or not
        // the client names the resource again.
        useGrantedResource: () => true,
      },
    },
  };
}

let callback;

// The issuer stays, and so does its store, which belongs to the module: codes
// and sessions of before a rotation are good after it, as with any provider.
function reload(issuer) {
  const provider = new Provider(issuer, configuration());
  provider.on('server_error', (ctx, err) => console.error(err));
  callback = provider.callback();
}

function emit(event) {
  process.stdout.write(`${JSON.stringify({ ...event, kids: keys.map((k) => k.kid) })}\n`);
}

const server = createServer((req, res) => callback(req, res));
server.on('error', (err) => {
  console.error(err.message);
  process.exit(1);
});
server.listen(Number(process.argv[2] ?? process.env.PORT ?? 0), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  addKey();
  reload(issuer);
  emit({ event: 'ready', issuer });

  const commands = createInterface({ input: process.stdin });
  commands.on('line', (line) => {
    const [, word, rest] = /^(\S*)\s*(.*)$/.exec(line.trim());
    if (word === 'rotate' && ['keep', 'drop'].includes(rest)) {
      if (rest === 'drop') keys = [];
      addKey();
      reload(issuer);
      emit({ event: 'rotated' });
    } else if (word === 'trust') {
      trusted = JSON.parse(rest);
      reload(issuer);
      emit({ event: 'trusted' });
    } else {
      emit({ event: 'error', text: `unknown command: ${line}` });
    }
  });
  commands.on('close', () => process.exit(0));
});

for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
