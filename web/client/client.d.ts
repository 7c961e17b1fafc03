/**
 * Telnyx login tokens from tokensvc in a browser, and a phone that stays registered with them.
 *
 * A token is kept in memory and nowhere else. It is in no event, no error and no log of this
 * module, which has none.
 *
 * @module
 */
export type Token = {
    /**
     * The JWT that Telnyx's SDKs call `login_token`.
     */
    token: string;
    /**
     * When it ends, in ms since 1970 by this machine's clock, right or wrong.
     */
    expiresAt: number;
    /**
     * When the next one is asked for, likewise.
     */
    refreshAt: number;
    /**
     * Whose it is: one of the caller's own devices.
     */
    device: string;
    /**
     * What the service's log calls the request that it came by.
     */
    requestId: string;
};
export type SourceEvent = {
    type: 'asking';
    attempt: number;
    fresh: boolean;
} | {
    type: 'token';
    from: 'service' | 'tab';
    expiresAt: number;
    refreshAt: number;
    requestId: string;
    timings: Record<string, number>;
} | {
    type: 'retrying';
    error: TokenError;
    delay: number;
} | {
    type: 'failed';
    error: TokenError;
};
export type TokenSource = {
    /**
     *   A token with enough life, however often it is called: the one that is kept, or the next. `fresh`: one that is
     *   minted now, since Telnyx refused the last. It waits as long as trying again makes sense, which `signal` ends;
     *   otherwise it fails with a TokenError.
     */
    get: (options?: {
        fresh?: boolean;
        signal?: AbortSignal;
    }) => Promise<Token>;
    /**
     * Returns how to end it.
     */
    subscribe: (listener: (event: SourceEvent) => void) => () => void;
    /**
     * Forgets the token, and fails whoever waits with an AbortError.
     */
    close: () => void;
};
export type TokenSourceOptions = {
    /**
     * The service's address, with its base path if it has one.
     */
    url: string | URL;
    /**
     *   Who the caller is: the access token that the service is to see. It is called for every request, and once more with
     *   `rejected` when the service has refused the last one. What it throws is tried again, unless it says `retryable: false`.
     */
    bearer: (asked: {
        rejected: boolean;
    }) => string | Promise<string>;
    /**
     * Which of the caller's own devices this is.
     */
    device?: string;
    fetch?: typeof globalThis.fetch;
};
export type RegistrationState = 'connecting' | 'registered' | 'waiting' | 'stopped';
export type RegistrationEvent = {
    type: 'state';
    state: RegistrationState;
    error?: TokenError;
    why?: string;
} | {
    type: 'login';
    reason: LoginReason;
};
export type LoginReason = 'first' | 'refresh' | 'warning' | 'rejected' | 'reconnected';
export type Registration = {
    state: RegistrationState;
    /**
     * What it waits for, or has stopped at.
     */
    error: TokenError | undefined;
    /**
     * Returns how to end it.
     */
    subscribe: (listener: (event: RegistrationEvent) => void) => () => void;
    /**
     * Leaves the client as it is, connected or not, to whoever called.
     */
    stop: () => void;
};
export type PhoneClient = {
    options: any;
    connected: boolean;
    connect: () => any;
    disconnect: () => any;
    login: (how?: any) => any;
    on: (event: any, listener: (event: any) => void) => any;
    off: (event: any, listener: (event: any) => void) => any;
    hasAutoReconnect?: () => boolean;
};
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
export declare class TokenError extends Error {
    /** The service's word for it, or one of `network`, `bad_answer`, `bearer_failed`, `login_rejected`, `login_loop`, `login_failed`, `disconnected`. */
    outcome: string;
    /** What the service's log calls the request, or nothing. */
    requestId: string;
    /** The HTTP status, or 0. */
    status: number;
    /** Whether the same may succeed later. */
    retryable: boolean;
    /** Seconds until then, if the service says so, or 0. */
    retryAfter: number;
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
    constructor({ sentence, outcome, requestId, status, retryable, retryAfter, cause }: {
        sentence: string;
        outcome: string;
        requestId?: string;
        status?: number;
        retryable?: boolean;
        retryAfter?: number;
        cause?: unknown;
    });
}
/**
 * Asks tokensvc for login tokens, keeps the newest, and asks for the next in time.
 *
 * @param {TokenSourceOptions} options
 * @returns {TokenSource}
 */
export declare function createTokenSource({ url, bearer, device, fetch }: TokenSourceOptions): TokenSource;
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
export declare function keepRegistered(client: PhoneClient, source: TokenSource): Registration;
export type Reading = [date: number, steady: number];
export type Emitter<E> = {
    emit: (event: E) => void;
    subscribe: (listener: (event: E) => void) => () => void;
};
