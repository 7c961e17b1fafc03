// Telnyx login tokens from tokensvc in a browser, and a phone that stays registered with them.

/**
 * @typedef {object} Token
 * @property {string} token The JWT for Telnyx's SDK (`login_token`).
 * @property {number} expiresAt When it ends: milliseconds of this machine's clock.
 * @property {number} refreshAt When the next one is asked for, likewise.
 * @property {string} device
 * @property {string} requestId What the service calls the request in its log.
 */

/**
 * @typedef {{type: 'asking', attempt: number, fresh: boolean}
 *   | {type: 'token', from: 'service' | 'tab', expiresAt: number, refreshAt: number, requestId: string, timings: Record<string, number>}
 *   | {type: 'retrying', error: TokenError, delay: number}
 *   | {type: 'failed', error: TokenError}} SourceEvent
 */

/**
 * @typedef {object} TokenSource
 * @property {(options?: {fresh?: boolean, signal?: AbortSignal}) => Promise<Token>} get
 * @property {(listener: (event: SourceEvent) => void) => () => void} subscribe
 * @property {() => void} close
 */

/**
 * @typedef {object} TokenSourceOptions
 * @property {string | URL} url
 * @property {(asked: {rejected: boolean}) => string | Promise<string>} bearer
 * @property {string} [device]
 * @property {typeof globalThis.fetch} [fetch]
 */

/** @typedef {'connecting' | 'registered' | 'waiting' | 'stopped'} RegistrationState */

/**
 * @typedef {{type: 'state', state: RegistrationState, error?: TokenError, why?: string}
 *   | {type: 'login', reason: 'first' | 'refresh' | 'warning' | 'rejected' | 'reconnected'}} RegistrationEvent
 */

/**
 * @typedef {object} Registration
 * @property {RegistrationState} state
 * @property {TokenError | undefined} error
 * @property {(listener: (event: RegistrationEvent) => void) => () => void} subscribe
 * @property {() => void} stop
 */

/**
 * What is used of a `TelnyxRTC`.
 * @typedef {object} PhoneClient
 * @property {any} options
 * @property {boolean} connected
 * @property {() => any} connect
 * @property {() => any} disconnect
 * @property {(how?: any) => any} login
 * @property {(event: string, listener: (event: any) => void) => any} on
 * @property {(event: string, listener: (event: any) => void) => any} off
 */

export class TokenError extends Error {
  /** @param {{sentence: string, outcome: string, requestId?: string, status?: number, retryable?: boolean, retryAfter?: number, cause?: unknown}} what */
  constructor({sentence, outcome, requestId = '', status = 0, retryable = false, retryAfter = 0, cause}) {
    super(`${sentence} (${outcome}${requestId && `, request ${requestId}`})`, {cause})
    this.name = 'TokenError'
    this.outcome = outcome
    this.requestId = requestId
    this.status = status
    this.retryable = retryable
    this.retryAfter = retryAfter
  }
}

/**
 * @param {TokenSourceOptions} options
 * @returns {TokenSource}
 */
export function createTokenSource({url, bearer, device = 'default', fetch = globalThis.fetch}) {
  /** @type {Set<(event: SourceEvent) => void>} */
  const listeners = new Set()
  return {
    async get({fresh = false, signal} = {}) {
      /** @type {Record<string, string>} */
      const headers = {Authorization: `Bearer ${await bearer({rejected: false})}`, 'Content-Type': 'application/json'}
      if (fresh) headers['Cache-Control'] = 'no-cache'
      const sent = Date.now()
      const response = await fetch(`${url}/v1/token`, {method: 'POST', headers, body: JSON.stringify({device}), credentials: 'omit', signal})
      const answer = await response.json()
      if (!response.ok) throw new TokenError({sentence: answer.detail, outcome: answer.code, requestId: answer.request_id, status: response.status})
      const token = {token: answer.token, expiresAt: sent + answer.expires_in * 1000, refreshAt: sent + answer.refresh_in * 1000, device, requestId: answer.request_id}
      for (const listener of listeners) listener({type: 'token', from: 'service', expiresAt: token.expiresAt, refreshAt: token.refreshAt, requestId: token.requestId, timings: {}})
      return token
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    },
    close() {},
  }
}

/**
 * @param {PhoneClient} client
 * @param {TokenSource} source
 * @returns {Registration}
 */
export function keepRegistered(client, source) {
  /** @type {Set<(event: RegistrationEvent) => void>} */
  const listeners = new Set()
  /** @type {Registration} */
  const registration = {
    state: 'connecting',
    error: undefined,
    subscribe(listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    },
    stop() {
      client.off('telnyx.ready', ready)
      registration.state = 'stopped'
    },
  }
  const ready = () => {
    registration.state = 'registered'
    for (const listener of listeners) listener({type: 'state', state: 'registered'})
  }
  client.on('telnyx.ready', ready)
  source.get().then((token) => {
    client.options.login_token = token.token
    client.connect()
  })
  return registration
}
