// The phone: Telnyx's SDK, kept registered by the module that the service serves.
// A page of yours needs these lines, and little else.

/**
 * @param {object} with
 * @param {{createTokenSource: Function, keepRegistered: Function}} with.client the module
 * @param {Function|null} with.TelnyxRTC Telnyx's SDK; null: only tokens are shown
 * @param {{service: string, gateway: string}} with.config
 * @param {Function} with.bearer see createSignIn
 * @param {(event: object) => void} with.onEvent is told everything that happens
 */
export function createPhone({ client, TelnyxRTC, config, bearer, onEvent }) {
  let source = null;
  let sdk = null;
  let registration = null;

  function start() {
    source = client.createTokenSource({ url: config.service, bearer });
    source.subscribe(onEvent);
    if (!TelnyxRTC) {
      onEvent({ type: 'state', state: 'absent' });
      renew();
      return;
    }
    // The SDK wants some token from the start; this one is never sent.
    sdk = new TelnyxRTC({ login_token: 'none yet', host: config.gateway, enableCallReports: false });
    watch(sdk, onEvent);
    registration = client.keepRegistered(sdk, source);
    registration.subscribe(onEvent);
  }

  function stop() {
    registration?.stop();
    sdk?.disconnect();
    source?.close();
    registration = sdk = source = null;
  }

  /** Asks for a token that nobody has kept. What becomes of it is told in events. */
  function renew(fresh = false) {
    source?.get({ fresh }).catch(() => {});
  }

  return { start, stop, renew: () => renew(true) };
}

/** The SDK's own events, for the timeline: only what happened and its number. */
function watch(sdk, onEvent) {
  const tell = (what, code) => onEvent({ type: 'sdk', what, code });
  sdk.on('telnyx.socket.open', () => tell('open'));
  sdk.on('telnyx.socket.close', () => tell('closed'));
  sdk.on('telnyx.error', (event) => tell('error', event?.error?.code));
  sdk.on('telnyx.warning', (event) => tell('warning', event?.warning?.code));
}
