// The real @telnyx/webrtc outside of a browser: what it needs of one, and Telnyx's gateway as a WebSocket of this
// process, so that its time is the test's. In Chromium, with a gateway on a socket, the same is tested end to end.
import { settle } from '../client/testing.mjs';

class Storage {
  #kept = new Map();
  getItem = (key) => this.#kept.get(key) ?? null;
  setItem = (key, value) => void this.#kept.set(key, String(value));
  removeItem = (key) => void this.#kept.delete(key);
}

const page = new EventTarget();
const browser = {
  window: globalThis,
  document: Object.assign(new EventTarget(), { visibilityState: 'visible' }),
  sessionStorage: new Storage(),
  navigator: { userAgent: 'node', onLine: true },
  location: { href: 'https://phone.example.com/' },
  addEventListener: page.addEventListener.bind(page),
  removeEventListener: page.removeEventListener.bind(page),
  dispatchEvent: page.dispatchEvent.bind(page),
};

/** Telnyx's gateway, as far as a phone that only registers can tell. */
export class Gateway {
  logins = []; // the tokens, in order
  times = []; // when they came
  registrations = 0;
  connections = 0;
  down = false;
  mute = false; // answers no login
  held = undefined; // logins, to be answered later, once this is a list
  sockets = new Set();
  refusals = []; // error codes for the next logins
  always = undefined; // and for all of them
  relogins = 0;

  connect(socket) {
    this.connections++;
    if (this.down) return socket.end();
    this.sockets.add(socket);
    socket.begin();
  }

  drop() {
    for (const socket of [...this.sockets]) socket.end();
  }

  say(message) {
    for (const socket of this.sockets) socket.hear(message);
  }

  receive(socket, { id, method, params }) {
    switch (method) {
      case 'login':
        if (this.mute) return;
        if (this.held) return this.held.push(() => this.login(socket, id, params.login_token));
        return this.login(socket, id, params.login_token);
      case 'telnyx_rtc.gatewayState':
        if (!socket.registered) this.registrations++;
        socket.registered = true;
        return socket.hear({ jsonrpc: '2.0', id, result: { params: { state: 'REGED' } } });
      case 'telnyx_rtc.ping':
        return socket.hear({ jsonrpc: '2.0', id, result: { message: 'pong' } });
    }
  }

  login(socket, id, token) {
    this.logins.push(token);
    this.times.push(Date.now());
    const code = this.always ?? this.refusals.shift();
    if (code) return socket.hear({ jsonrpc: '2.0', id, error: { code, message: 'no' } });
    if (socket.registered) this.relogins++;
    socket.hear({ jsonrpc: '2.0', id, result: { message: 'logged in', sessid: 'a-session' }, voice_sdk_id: 'v' });
    socket.hear({ jsonrpc: '2.0', id: 'ready', method: 'telnyx_rtc.clientReady', params: { reattached_sessions: [] } });
  }
}

let gateway;

class Socket {
  readyState = 0;
  constructor() {
    setImmediate(() => this.readyState === 0 && gateway.connect(this));
  }
  begin() {
    this.readyState = 1;
    this.onopen?.({});
  }
  send(text) {
    const message = JSON.parse(text);
    setImmediate(() => this.readyState === 1 && gateway.receive(this, message));
  }
  hear(message) {
    setImmediate(() => this.readyState === 1 && this.onmessage?.({ data: JSON.stringify(message) }));
  }
  close() {
    this.readyState = 2;
    gateway.sockets.delete(this);
    setImmediate(() => this.end(1000));
  }
  end(code = 1006) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    gateway.sockets.delete(this);
    if (code === 1006) this.onerror?.({});
    this.onclose?.({ code, reason: '', wasClean: code === 1000 });
  }
}

/** The SDK, and a gateway that is this test's. */
export async function softphone(t) {
  gateway = new Gateway();
  for (const [name, value] of Object.entries({ ...browser, WebSocket: Socket })) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  for (const word of ['log', 'info', 'warn', 'error', 'debug', 'trace']) t.mock.method(console, word, () => {});
  const { TelnyxRTC } = await import('@telnyx/webrtc/lib/bundle.mjs');
  t.after(async () => {
    gateway.down = true;
    gateway.drop();
    await settle();
  });
  return { client: new TelnyxRTC({ login_token: 'later' }), gateway };
}
