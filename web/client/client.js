/**
 * Telnyx login tokens from tokensvc in a browser, and a phone that stays registered with them.
 *
 * A token is kept in memory and nowhere else. It is in no event, no error and no log of this
 * module, which has none.
 *
 * @module
 */

const SECOND = 1000; // ms, as every duration here
const MINUTE = 60 * SECOND;
const ENOUGH = MINUTE; // the life in which a phone can log in, whatever comes between
const LOOK = MINUTE / 2; // how often the clock is looked at: it jumps, and machines sleep
const ANSWER = MINUTE / 2; // how long a request, or the app's bearer, may take
const TURN = 10 * SECOND; // how long another tab may be asking, before this one asks too
const TABS = 100; // how long other tabs may take to say that they have a token
const LONGEST_PAUSE = MINUTE; // between two attempts
const LONGEST_RETRY_AFTER = 10 * MINUTE;
const LARGEST_ANSWER = 64 << 10; // characters
const LONGEST_LIFE = 400 * 24 * 60 * MINUTE;
const LOGINS = 3; // in a row that may fail
const STUCK = MINUTE; // how long a login may take to become a registration

/**
 * A login token.
 * @typedef {object} Token
 * @property {string} token The JWT that Telnyx's SDKs call `login_token`.
 * @property {number} expiresAt When it ends, in ms since 1970 by this machine's clock, right or wrong.
 * @property {number} refreshAt When the next one is asked for, likewise.
 * @property {string} device Whose it is: one of the caller's own devices.
 * @property {string} requestId What the service's log calls the request that it came by.
 */

/**
 * What a source does. A token itself is never in it.
 * @typedef {{type: 'asking', attempt: number, fresh: boolean}
 *   | {type: 'token', from: 'service' | 'tab', expiresAt: number, refreshAt: number, requestId: string, timings: Record<string, number>}
 *   | {type: 'retrying', error: TokenError, delay: number}
 *   | {type: 'failed', error: TokenError}} SourceEvent
 */

/**
 * Where tokens come from.
 * @typedef {object} TokenSource
 * @property {(options?: {fresh?: boolean, signal?: AbortSignal}) => Promise<Token>} get
 *   A token with enough life, however often it is called: the one that is kept, or the next. `fresh`: one that is
 *   minted now, since Telnyx refused the last. It waits as long as trying again makes sense, which `signal` ends;
 *   otherwise it fails with a TokenError.
 * @property {(listener: (event: SourceEvent) => void) => () => void} subscribe Returns how to end it.
 * @property {() => void} close Forgets the token, and fails whoever waits with an AbortError.
 */

/**
 * @typedef {object} TokenSourceOptions
 * @property {string | URL} url The service's address, with its base path if it has one.
 * @property {(asked: {rejected: boolean}) => string | Promise<string>} bearer
 *   Who the caller is: the access token that the service is to see. It is called for every request, and once more with
 *   `rejected` when the service has refused the last one. What it throws is tried again, unless it says `retryable: false`.
 * @property {string} [device] Which of the caller's own devices this is.
 * @property {typeof globalThis.fetch} [fetch]
 */

/** @typedef {'connecting' | 'registered' | 'waiting' | 'stopped'} RegistrationState */

/**
 * What a phone does. `why` is one of a few words for programs, or nothing.
 * @typedef {{type: 'state', state: RegistrationState, error?: TokenError, why?: string}
 *   | {type: 'login', reason: LoginReason}} RegistrationEvent
 */

/**
 * Why a login was made that Telnyx accepted.
 * @typedef {'first' | 'refresh' | 'warning' | 'rejected' | 'reconnected'} LoginReason
 */

/**
 * A phone that is kept registered.
 * @typedef {object} Registration
 * @property {RegistrationState} state
 * @property {TokenError | undefined} error What it waits for, or has stopped at.
 * @property {(listener: (event: RegistrationEvent) => void) => () => void} subscribe Returns how to end it.
 * @property {() => void} stop Leaves the client as it is, connected or not, to whoever called.
 */

/**
 * As much of a `TelnyxRTC` as is used here.
 * @typedef {object} PhoneClient
 * @property {any} options
 * @property {boolean} connected
 * @property {() => any} connect
 * @property {() => any} disconnect
 * @property {(how?: any) => any} login
 * @property {(event: any, listener: (event: any) => void) => any} on
 * @property {(event: any, listener: (event: any) => void) => any} off
 * @property {() => boolean} [hasAutoReconnect]
 */

/**
 * Why there is no token, or no registration. The message is a sentence for a person, the outcome and the request id.
 */
export class TokenError extends Error {
  /**
   * @param {object} what
   * @param {string} what.sentence
   * @param {string} what.outcome
   * @param {string} [what.requestId]
   * @param {number} [what.status]
   * @param {boolean} [what.retryable]
   * @param {number} [what.retryAfter]
   * @param {unknown} [what.cause]
   */
  constructor({ sentence, outcome, requestId = '', status = 0, retryable = false, retryAfter = 0, cause }) {
    super(`${sentence} (${outcome}${requestId && `, request ${requestId}`})`, { cause });
    this.name = 'TokenError';
    /** The service's word for it, or one of `network`, `bad_answer`, `bearer_failed`, `login_rejected`, `login_loop`, `login_failed`, `disconnected`. */
    this.outcome = outcome;
    /** What the service's log calls the request, or nothing. */
    this.requestId = requestId;
    /** The HTTP status, or 0. */
    this.status = status;
    /** Whether the same may succeed later. */
    this.retryable = retryable;
    /** Seconds until then, if the service says so, or 0. */
    this.retryAfter = retryAfter;
  }
}

/**
 * Asks tokensvc for login tokens, keeps the newest, and asks for the next in time.
 *
 * @param {TokenSourceOptions} options
 * @returns {TokenSource}
 */
export function createTokenSource({ url, bearer, device = 'default', fetch = globalThis.fetch }) {
  const endpoint = new URL(url, globalThis.location?.href);
  endpoint.pathname = endpoint.pathname.replace(/\/*$/, '/v1/token');
  endpoint.search = endpoint.hash = '';
  if (!/^https?:$/.test(endpoint.protocol) || endpoint.username || endpoint.password) throw new TypeError('createTokenSource: url is not of a service');
  if (!/^[a-z0-9._-]{1,64}$/.test(device)) throw new TypeError('createTokenSource: device is no name of a device');
  if (typeof bearer !== 'function') throw new TypeError('createTokenSource: bearer is not a function');

  /**
   * A token and its life, counted from before it was asked for: the service's clock and this one need not agree.
   * @typedef {{token: Token, at: Reading, life: number, due: number}} Kept
   */
  /** @type {Kept | undefined} */
  let kept;

  /**
   * The request that everybody waits for. Nobody waiting ends it.
   * @typedef {{fresh: boolean, waiting: number, ending: AbortController, result: Promise<Token>}} Flight
   */
  /** @type {Flight | undefined} */
  let flight;

  let person = ''; // whom the last bearer was of, if it said so
  let owner = ''; // the same, or else that very bearer
  /** @type {BroadcastChannel | undefined} */
  let tabs;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let started = false;
  let failed = false; // for good, until somebody asks again
  const ending = new AbortController();
  const { emit, subscribe } = /** @type {Emitter<SourceEvent>} */ (emitter());
  const sleeping = /** @type {Set<() => void>} */ (new Set()); // that a new token wakes
  const eager = /** @type {Set<() => void>} */ (new Set()); // and those that the network wakes too

  const left = (/** @type {Kept} */ k) => k.life - since(k.at);
  const isDue = (/** @type {Kept} */ k) => since(k.at) >= k.due;

  /** @type {TokenSource['get']} */
  async function get({ fresh = false, signal } = {}) {
    signal?.throwIfAborted();
    ending.signal.throwIfAborted();
    start();
    if (!fresh && kept && left(kept) >= enough(kept.life)) {
      if (isDue(kept)) renew();
      return kept.token;
    }
    return join(ask(fresh), signal);
  }

  function renew() {
    if (!flight) join(ask(false)).catch(() => {}); // the event says it
  }

  /** @param {boolean} fresh */
  function ask(fresh) {
    if (flight) {
      flight.fresh ||= fresh;
      return flight;
    }
    failed = false;
    clearTimeout(timer);
    const mine = (flight = /** @type {Flight} */ ({ fresh, waiting: 0, ending: new AbortController() }));
    mine.result = run(mine);
    return mine;
  }

  /**
   * @param {Flight} flying
   * @param {AbortSignal} [signal]
   * @returns {Promise<Token>}
   */
  function join(flying, signal) {
    flying.waiting++;
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        reject(signal?.reason);
        if (--flying.waiting) return;
        if (flight === flying) flight = undefined; // nobody else is to join what ends
        flying.ending.abort(signal?.reason);
      };
      signal?.addEventListener('abort', giveUp, { once: true });
      flying.result.then(resolve, reject).finally(() => signal?.removeEventListener('abort', giveUp));
    });
  }

  /**
   * Tries until there is a token, or no sense in trying.
   * @param {Flight} mine
   */
  async function run(mine) {
    const { signal } = mine.ending;
    try {
      for (let attempt = 1; ; attempt++) {
        const { fresh } = mine;
        emit({ type: 'asking', attempt, fresh });
        let error;
        try {
          const token = await once(fresh, signal);
          if (fresh || !mine.fresh) return token;
          attempt = 0; // somebody wants a fresh one meanwhile
          continue;
        } catch (e) {
          signal.throwIfAborted();
          error = /** @type {TokenError} */ (e);
        }
        if (!error.retryable) {
          failed = true;
          emit({ type: 'failed', error });
          throw error;
        }
        const patience = error.retryAfter * SECOND;
        const delay = Math.max(patience, jitter(attempt));
        emit({ type: 'retrying', error, delay });
        await nap(delay, signal, patience ? sleeping : eager);
        if (!mine.fresh && kept && !isDue(kept)) return kept.token; // another tab had more luck
      }
    } finally {
      if (flight === mine) flight = undefined;
      schedule();
    }
  }

  /**
   * @param {boolean} fresh
   * @param {AbortSignal} signal
   * @param {boolean} [rejected]
   * @returns {Promise<Token>}
   */
  async function once(fresh, signal, rejected = false) {
    const presented = await identify(signal, rejected);
    const name = await share(presented);
    signal.throwIfAborted();
    try {
      return await inTurn(name, signal, async () => {
        if (!fresh && (await othersHave(signal))) return /** @type {Kept} */ (kept).token;
        const answer = await post(presented, fresh, signal);
        keep(answer.kept, 'service', answer.timings);
        tell();
        return answer.kept.token;
      });
    } catch (e) {
      if (rejected || /** @type {TokenError} */ (e).outcome !== 'invalid_token') throw e;
      return once(fresh, signal, true);
    }
  }

  /**
   * @param {AbortSignal} signal
   * @param {boolean} rejected
   */
  async function identify(signal, rejected) {
    const limit = within(ANSWER, signal);
    try {
      const presented = await Promise.race([bearer({ rejected }), limit.end]);
      if (presented && typeof presented === 'string') return printable(presented);
    } catch (cause) {
      signal.throwIfAborted();
      if (cause instanceof TokenError) throw cause;
      const retryable = /** @type {any} */ (cause)?.retryable !== false;
      throw new TokenError({ sentence: 'Who you are cannot be told now.', outcome: 'bearer_failed', retryable, cause });
    } finally {
      limit.done();
    }
    throw new TokenError({ sentence: 'Nobody is signed in.', outcome: 'unauthenticated' });
  }

  /**
   * @param {string} presented
   * @param {boolean} fresh
   * @param {AbortSignal} signal
   */
  async function post(presented, fresh, signal) {
    /** @type {Record<string, string>} */
    const headers = { Authorization: `Bearer ${presented}`, Accept: 'application/json' };
    /** @type {string | undefined} */
    let body;
    if (device !== 'default') {
      headers['Content-Type'] = 'application/json';
      body = JSON.stringify({ device });
    }
    // Not by the option `cache`, with which browsers say more than this.
    if (fresh) headers['Cache-Control'] = 'no-cache, fresh';
    const at = reading();
    const limit = within(ANSWER, signal);
    const request = async () => {
      const response = await fetch(endpoint.href, {
        method: 'POST',
        headers,
        body,
        credentials: 'omit',
        redirect: 'error',
        referrerPolicy: 'no-referrer',
        signal: limit.signal,
      });
      return /** @type {const} */ ([response, await read(response)]);
    };
    let response, text;
    try {
      [response, text] = await Promise.race([request(), limit.end]); // whether fetch heeds the signal or not
    } catch (cause) {
      signal.throwIfAborted();
      const sentence = 'The token service cannot be reached, or does not answer to this page.';
      throw new TokenError({ sentence, outcome: 'network', retryable: true, cause });
    } finally {
      limit.done();
    }
    const { status, headers: told } = response;
    const answer = parse(text);
    const token = response.ok && toKept(answer.token, answer.expires_in * SECOND, answer.refresh_in * SECOND, answer.request_id, at);
    if (token) return { kept: token, timings: timings(told.get('Server-Timing')) };
    throw toError(answer, status, retryAfter(told.get('Retry-After')), Boolean(kept));
  }

  /**
   * @param {unknown} token
   * @param {unknown} life
   * @param {unknown} due
   * @param {unknown} requestId
   * @param {Reading} at
   * @returns {Kept | undefined} nothing, if it is no token with life in it
   */
  function toKept(token, life, due, requestId, at) {
    if (typeof token !== 'string' || token.length > 8192 || !/^[\w-]+\.[\w-]+\.[\w-]*$/.test(token)) return;
    if (!isDuration(life) || !life || !isDuration(due)) return;
    const soon = Math.min(due, life - enough(life));
    return {
      at,
      life,
      due: soon,
      token: {
        token,
        expiresAt: at[0] + life,
        refreshAt: at[0] + soon,
        device,
        requestId: isRequestId(requestId) ? requestId : '',
      },
    };
  }

  /**
   * @param {Kept} next
   * @param {'service' | 'tab'} from
   * @param {Record<string, number>} took
   */
  function keep(next, from, took) {
    if (ending.signal.aborted) return;
    kept = next;
    failed = false;
    const { expiresAt, refreshAt, requestId } = next.token;
    emit({ type: 'token', from, expiresAt, refreshAt, requestId, timings: took });
    wake(sleeping);
    wake(eager);
    schedule();
  }

  // Timers stand still while a machine sleeps or a page is hidden: only a look at the clock tells.
  function schedule() {
    clearTimeout(timer);
    if (!kept || flight || failed || ending.signal.aborted) return;
    timer = setTimeout(look, Math.max(0, Math.min(LOOK, kept.due - since(kept.at))));
  }

  function look() {
    if (globalThis.document?.visibilityState !== 'hidden' && globalThis.navigator?.onLine !== false) wake(eager);
    if (kept && isDue(kept) && !failed) renew();
    else schedule();
  }

  function start() {
    if (started) return;
    started = true;
    listen('addEventListener');
  }

  /** @param {'addEventListener' | 'removeEventListener'} how */
  function listen(how) {
    for (const type of ['online', 'pageshow']) globalThis[how]?.(type, look);
    for (const type of ['resume', 'visibilitychange']) globalThis.document?.[how](type, look);
  }

  // --- Tabs of one origin. They share a token only if they are of one person at one service.

  /**
   * Joins the tabs of whoever presents this, and leaves those of anybody else.
   * @param {string} presented
   * @returns {Promise<string | undefined>} what they queue for, or nothing where tabs cannot share
   */
  async function share(presented) {
    const now = personOf(presented);
    const whose = now || presented;
    if (owner && whose !== owner) {
      kept = undefined;
      leave();
      if (now && person) throw new TokenError({ sentence: 'Somebody else is signed in.', outcome: 'unauthenticated' });
    }
    person = now;
    owner = whose;
    const subtle = globalThis.crypto?.subtle;
    if (!subtle || !globalThis.navigator?.locks || !globalThis.BroadcastChannel) return;
    // Hashed, since names are not secret and a bearer is.
    const of = new TextEncoder().encode(JSON.stringify([endpoint.href, device, whose]));
    const hash = new Uint8Array(await subtle.digest('SHA-256', of));
    const name = `tokensvc:${Array.from(hash, (b) => b.toString(16).padStart(2, '0')).join('')}`;
    if (owner !== whose || ending.signal.aborted) return; // meanwhile
    if (tabs?.name !== name) {
      leave();
      tabs = new BroadcastChannel(name);
      tabs.onmessage = ({ data }) => (data?.want ? tell() : adopt(data));
    }
    return name;
  }

  function leave() {
    tabs?.close();
    tabs = undefined;
  }

  function tell() {
    if (!kept || isDue(kept)) return;
    const { token, requestId } = kept.token;
    tabs?.postMessage({ token, life: left(kept), due: kept.due - since(kept.at), requestId, sent: Date.now() });
  }

  /** @param {any} theirs whatever a page of this origin sends */
  function adopt(theirs) {
    if (!theirs || !Number.isFinite(theirs.sent)) return;
    // A message waits while a tab is frozen, and its token ages.
    const age = Math.max(0, Date.now() - theirs.sent);
    const next = toKept(theirs.token, theirs.life - age, theirs.due - age, theirs.requestId, reading());
    if (next && (!kept || next.due > kept.due - since(kept.at))) keep(next, 'tab', {});
  }

  /** @param {AbortSignal} signal */
  async function othersHave(signal) {
    const useful = () => Boolean(kept && !isDue(kept));
    if (!useful() && tabs) {
      tabs.postMessage({ want: true });
      await nap(TABS, signal, sleeping);
    }
    return useful();
  }

  function close() {
    kept = undefined;
    const reason = new DOMException('The token source is closed.', 'AbortError');
    ending.abort(reason);
    flight?.ending.abort(reason);
    clearTimeout(timer);
    listen('removeEventListener');
    leave();
  }

  return { get, subscribe, close };
}

/**
 * Logs a `TelnyxRTC` in with a source's tokens, and keeps it registered: logs in again on the live connection with every
 * new token, gives the SDK's own reconnecting a good one, and ends what would go on for ever.
 *
 * The client comes from @telnyx/webrtc and is not connected yet. This is tested with 2.27.10; use 2.26.4 or later, since
 * some before it are not registered again after a lost connection. One before 2.25.17 cannot log in on the live
 * connection, and is refused with a TypeError.
 * The client's constructor refuses an empty `login_token`: any other word will do, since it is never sent.
 *
 * @param {PhoneClient} client
 * @param {TokenSource} source
 * @returns {Registration}
 */
export function keepRegistered(client, source) {
  if (typeof client?.login !== 'function') throw new TypeError('keepRegistered: the client is no TelnyxRTC of @telnyx/webrtc 2.25.17 or later');

  const theirLogin = client.login;
  const ending = new AbortController();
  const { emit, subscribe } = /** @type {Emitter<RegistrationEvent>} */ (emitter());
  const sleeping = /** @type {Set<() => void>} */ (new Set());

  /** @type {LoginReason} */
  let reason = 'first'; // of the next login
  let using = ''; // the token that this connection was last logged in with
  let due = 0; // when the source asks for another
  let loggedIn = false;
  let connections = 0; // so far
  let logins = { row: 0, at: reading(), most: LOGINS }; // that the SDK makes by itself
  let rejected = 0; // logins in a row
  let restarts = 0; // in a row
  let restarting = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let stuck;

  /** @type {Registration} */
  const registration = { state: 'connecting', error: undefined, subscribe, stop };

  /**
   * @param {RegistrationState} state
   * @param {string} [why]
   * @param {TokenError} [error]
   */
  function become(state, why, error) {
    if (registration.state === state && registration.error === error) return;
    registration.state = state;
    registration.error = error;
    emit({ type: 'state', state, why, error });
  }

  /**
   * A token, or nothing when there is none to be had: then this has stopped.
   * @param {boolean} [fresh]
   */
  async function token(fresh) {
    try {
      const next = await source.get({ fresh, signal: ending.signal });
      if (!ending.signal.aborted) return next;
    } catch (e) {
      end(e instanceof TokenError ? e : undefined, 'token');
    }
  }

  async function connect(fresh = false) {
    const next = await token(fresh);
    if (!next) return;
    restarting = false;
    become('connecting');
    client.options.login_token = next.token; // without one the SDK opens a connection and says nothing
    if (client.connected) logIn(next);
    else client.connect();
  }

  // What the SDK calls when a connection opens, and at once and for ever when Telnyx answers -32000, which no event shows.
  client.login = async (/** @type {any} */ how = {}) => {
    if (how.creds) return theirLogin.call(client, how);
    if (ending.signal.aborted || restarting) return;
    if (since(logins.at) > MINUTE) logins.row = 0;
    logins.at = reading();
    if (++logins.row > logins.most) return loop();
    const on = connections;
    const next = await token();
    if (next && on === connections && client.connected) return logIn(next, how);
  };

  /**
   * @param {Token} next
   * @param {any} [how]
   */
  function logIn(next, how = {}) {
    using = next.token;
    due = next.refreshAt;
    if (registration.state === 'waiting') become('connecting');
    if (registration.state !== 'registered') {
      clearTimeout(stuck);
      stuck = setTimeout(restart, STUCK, loginFailed());
    }
    return theirLogin.call(client, {
      creds: { login_token: next.token },
      onSuccess() {
        how.onSuccess?.();
        if (ending.signal.aborted || using !== next.token) return;
        loggedIn = true;
        rejected = 0;
        emit({ type: 'login', reason });
        reason = 'refresh';
        refresh(); // there may be a newer one by now
      },
      onError(/** @type {any} */ refusal) {
        how.onError?.(refusal);
        // -32000 is what client.login above is called for.
        if (using !== next.token || !Number.isInteger(refusal?.code) || refusal.code === -32000) return;
        if (refusal.code === -32001) refused();
        else restart(loginFailed());
      },
    });
  }

  async function refresh() {
    if (!loggedIn || !client.connected) return; // the next login takes the newest anyway
    const next = await token();
    if (next && next.token !== using && loggedIn && client.connected) logIn(next);
  }

  async function refused() {
    loggedIn = false;
    using = '';
    reason = 'rejected';
    const error = new TokenError({ sentence: 'Telnyx does not accept the login.', outcome: 'login_rejected' });
    if (++rejected > LOGINS) return end(error, 'login_rejected');
    if (registration.state !== 'registered') become('waiting', 'login_rejected', error);
    if (rejected > 1) await nap(backoff(rejected), ending.signal, sleeping).catch(() => {});
    const next = await token(true);
    if (next && client.connected && !restarting && !using) logIn(next);
  }

  function loop() {
    const error = new TokenError({ sentence: 'Telnyx has the phone log in again and again.', outcome: 'login_loop' });
    if (logins.most === 1) return end(error, 'login_loop');
    logins.most = 1; // one more try, with another token
    restart(error, 'login_loop', true);
  }

  /**
   * @param {TokenError} error
   * @param {string} [why]
   * @param {boolean} [fresh]
   */
  async function restart(error, why = 'login_failed', fresh = false) {
    if (ending.signal.aborted || restarting) return;
    restarting = true;
    lost();
    become('waiting', why, error);
    await hangUp();
    await nap(backoff(++restarts), ending.signal, sleeping).catch(() => {});
    await connect(fresh);
  }

  async function hangUp() {
    try {
      await client.disconnect();
    } catch {
      // It is a call that could not be ended well; the connection is gone.
    }
  }

  function lost() {
    if (loggedIn) reason = 'reconnected';
    loggedIn = false;
    using = '';
    connections++;
    logins.row = 0;
    clearTimeout(stuck);
  }

  function ready() {
    clearTimeout(stuck);
    logins = { row: 0, at: reading(), most: LOGINS };
    rejected = restarts = 0;
    become('registered');
  }

  function closed() {
    if (client.connected || restarting || ending.signal.aborted) return; // an older connection's end
    lost();
    // Telnyx has sent the phone away, since another has taken its place, or the app has called disconnect().
    if (client.hasAutoReconnect?.() === false) end(new TokenError({ sentence: 'The phone was disconnected.', outcome: 'disconnected' }), 'disconnected');
    else become('connecting', 'connection_lost');
  }

  /** @param {any} event */
  function wrong({ error } = {}) {
    if (error?.code === 45003) restart(new TokenError({ sentence: 'Telnyx cannot be reached.', outcome: 'network', retryable: true }), 'unreachable');
  }

  /** @param {any} event */
  function warned({ warning } = {}) {
    // While the next is not due the warning says no more than that tokens are short-lived here.
    if (warning?.code !== 34001 || !loggedIn || Date.now() < due) return;
    reason = 'warning';
    token(); // has the source ask, if it has not; its event comes to a login
  }

  const unsubscribe = source.subscribe((event) => {
    if (event.type === 'token') refresh();
    if (event.type === 'retrying' && registration.state !== 'registered') become('waiting', 'token', event.error);
    // Where the fault is the service's the phone may go on with what it has: whether that lasts is found at the next login.
    if (event.type === 'failed' && event.error.status < 500) end(event.error, 'token');
  });

  /** @type {[string, (event?: any) => void][]} */
  const heard = [
    ['telnyx.ready', ready],
    ['telnyx.socket.close', closed],
    ['telnyx.error', wrong],
    ['telnyx.warning', warned],
  ];
  const online = () => wake(sleeping);

  function release() {
    ending.abort();
    unsubscribe();
    clearTimeout(stuck);
    for (const [type, listener] of heard) client.off(type, listener);
    globalThis.removeEventListener?.('online', online);
  }

  /**
   * @param {TokenError} [error]
   * @param {string} [why]
   */
  async function end(error, why) {
    if (ending.signal.aborted) return;
    release();
    become('stopped', why, error);
    await hangUp();
    client.login = theirLogin; // not before: a login in its loop is to end here
  }

  function stop() {
    if (ending.signal.aborted) return;
    release();
    client.login = theirLogin;
    become('stopped', 'stop');
  }

  for (const [type, listener] of heard) client.on(type, listener);
  globalThis.addEventListener?.('online', online);
  connect();
  return registration;
}

function loginFailed() {
  return new TokenError({ sentence: 'The phone cannot log in now.', outcome: 'login_failed', retryable: true });
}

/**
 * What both clocks say: one is set by people, the other stands still while some machines sleep.
 * @typedef {[date: number, steady: number]} Reading
 */

/** @returns {Reading} */
const reading = () => [Date.now(), performance.now()];

/** @param {Reading} reading */
const since = ([date, steady]) => Math.max(Date.now() - date, performance.now() - steady);

/** @param {number} life of a token as it came, of which a tenth must do if it is short */
const enough = (life) => Math.min(ENOUGH, life / 10);

/** @param {number} attempt from 1; so many phones do not come back together */
const jitter = (attempt) => Math.random() * Math.min(LONGEST_PAUSE, SECOND * 2 ** (attempt - 1));

/** @param {number} attempt from 1; at least half of what it could be, since each costs Telnyx a login */
const backoff = (attempt) => (Math.min(LONGEST_PAUSE, SECOND * 2 ** attempt) * (1 + Math.random())) / 2;

/**
 * @template E
 * @typedef {{emit: (event: E) => void, subscribe: (listener: (event: E) => void) => () => void}} Emitter
 */

/** @returns {Emitter<any>} */
function emitter() {
  /** @type {Set<(event: any) => void>} */
  const listeners = new Set();
  return {
    emit(event) {
      for (const listener of [...listeners]) {
        try {
          listener(event);
        } catch (e) {
          queueMicrotask(() => {
            throw e; // to the page, as an event's listener does
          });
        }
      }
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/**
 * Sleeps, unless woken. Fails with the signal's reason.
 * @param {number} ms
 * @param {AbortSignal} signal
 * @param {Set<() => void>} sleeping
 * @returns {Promise<void>}
 */
async function nap(ms, signal, sleeping) {
  signal.throwIfAborted();
  await new Promise((/** @type {(_: void) => void} */ resolve) => {
    const end = () => {
      clearTimeout(timer);
      sleeping.delete(end);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    sleeping.add(end);
    signal.addEventListener('abort', end);
  });
  signal.throwIfAborted();
}

/** @param {Set<() => void>} sleeping */
function wake(sleeping) {
  for (const end of [...sleeping]) end();
}

/**
 * A signal that ends with another or after a while, and a promise that fails then.
 * @param {number} ms
 * @param {AbortSignal} outer
 */
function within(ms, outer) {
  const controller = new AbortController();
  const { signal } = controller;
  const stop = () => controller.abort(outer.aborted ? outer.reason : new DOMException('It took too long.', 'TimeoutError'));
  const timer = setTimeout(stop, ms);
  outer.addEventListener('abort', stop);
  /** @type {Promise<never>} */
  const end = new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  end.catch(() => {});
  return {
    signal,
    end,
    done() {
      clearTimeout(timer);
      outer.removeEventListener('abort', stop);
    },
  };
}

/**
 * Does something while no other tab does it, unless that takes too long.
 * @template T
 * @param {string | undefined} name
 * @param {AbortSignal} signal
 * @param {() => Promise<T>} act
 * @returns {Promise<T>}
 */
async function inTurn(name, signal, act) {
  if (!name) return act();
  let acting = false;
  const limit = within(TURN, signal);
  try {
    return await navigator.locks.request(name, { signal: limit.signal }, () => {
      acting = true;
      limit.done();
      return act();
    });
  } catch (e) {
    signal.throwIfAborted();
    if (acting) throw e;
    return act();
  } finally {
    limit.done();
  }
}

/**
 * A bearer that a header can hold. What fetch says of any other has the bearer in it.
 * @param {string} bearer
 */
function printable(bearer) {
  if (/^[\x21-\x7e]+$/.test(bearer)) return bearer;
  throw new TokenError({ sentence: 'The bearer has characters in it that no bearer has.', outcome: 'bearer_failed' });
}

/**
 * Whose bearer that is, if it says so: a JWT's issuer and subject. What it says is checked by the service, not here,
 * and here tells people apart only.
 * @param {string} bearer
 */
function personOf(bearer) {
  const [, payload, signature] = bearer.split('.');
  if (!signature) return '';
  try {
    const { iss, sub } = JSON.parse(atob(payload.replace(/-/g, '+').replace(/_/g, '/')));
    return iss && sub ? JSON.stringify([iss, sub]) : '';
  } catch {
    return '';
  }
}

/**
 * @param {Response} response
 * @returns {Promise<string>} the beginning of its body
 */
async function read(response) {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  while (reader && text.length < LARGEST_ANSWER) {
    const { done, value } = await reader.read();
    if (done) return text;
    text += value;
  }
  reader?.cancel().catch(() => {});
  return text;
}

/** @param {string} text */
function parse(text) {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

/**
 * @param {any} problem what the service says, or something else in its place
 * @param {number} status
 * @param {number} seconds
 * @param {boolean} worked whether this service has given a token before
 */
function toError(problem, status, seconds, worked) {
  const { code, detail, request_id: id, retryable } = problem;
  const known = status >= 400 && typeof detail === 'string' && /^[a-z_]{1,40}$/.test(code);
  return new TokenError({
    sentence: known ? detail.slice(0, 500) : `What answers is not the token service (status ${status}).`,
    outcome: known ? code : 'bad_answer',
    requestId: isRequestId(id) ? id : '',
    status,
    retryable: known ? retryable === true : worked || status >= 500 || status === 429,
    retryAfter: seconds,
  });
}

/**
 * @param {unknown} id
 * @returns {id is string}
 */
const isRequestId = (id) => typeof id === 'string' && /^[\w.-]{1,64}$/.test(id);

/**
 * @param {unknown} ms
 * @returns {ms is number}
 */
const isDuration = (ms) => typeof ms === 'number' && ms >= 0 && ms <= LONGEST_LIFE;

/** @param {string | null} header a number of seconds, or a date */
function retryAfter(header) {
  if (!header) return 0;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / SECOND;
  return Math.min(Math.max(seconds || 0, 0), LONGEST_RETRY_AFTER / SECOND);
}

/** @param {string | null} header Server-Timing, whose durations are in ms */
function timings(header) {
  /** @type {Record<string, number>} */
  const took = {};
  for (const [, name, ms] of (header ?? '').slice(0, 1000).matchAll(/([a-z]+);dur=(\d+(?:\.\d+)?)/g)) took[name] = Number(ms);
  return took;
}
