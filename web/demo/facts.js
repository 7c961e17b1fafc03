// What is known of the phone, as far as the page shows it.

/** What is known of a phone before it starts; doing() in words.js says what each is. */
export const nothing = { state: 'connecting', why: '', error: null, token: null, trouble: null, failed: false, retryAt: 0 };

/** What an event changes in what is known. */
export function learn(facts, { type, error, ...event }) {
  if (type === 'asking') Object.assign(facts, { retryAt: 0, failed: false });
  if (type === 'token') {
    const { expiresAt, refreshAt } = event;
    Object.assign(facts, { token: { expiresAt, refreshAt, lifetime: expiresAt - Date.now() }, trouble: null, failed: false, retryAt: 0 });
  }
  if (type === 'retrying') Object.assign(facts, { trouble: error, retryAt: Date.now() + event.delay });
  if (type === 'failed') Object.assign(facts, { trouble: error, failed: true, retryAt: 0 });
  if (type === 'state') Object.assign(facts, { state: event.state, why: event.why, error: error ?? null });
}
