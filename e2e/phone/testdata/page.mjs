// The least that a page of somebody's must have in it to be a phone: a person
// who is signed in, the module, and Telnyx's SDK. What happens is kept in
// globalThis.phone for the test to see.
const config = await (await fetch('/config.json')).json();
const user = new URLSearchParams(location.search).get('user');

const phone = globalThis.phone = {
  state: 'none', error: null, ready: 0, events: [], bearers: 0, rejected: 0,
};

const { createTokenSource, keepRegistered } = await import(config.module);

phone.source = createTokenSource({
  url: config.service,
  device: config.device,
  async bearer({ rejected }) {
    phone.bearers++;
    if (rejected) phone.rejected++;
    return (await fetch('/bearer', { method: 'POST', body: user })).text();
  },
});
phone.source.subscribe(({ error, ...event }) => {
  phone.events.push({ ...event, error: error && told(error) });
});

if (!config.tokensOnly) {
  const { TelnyxRTC } = await import('/telnyx.mjs');
  phone.client = new TelnyxRTC({ login_token: 'none yet', host: config.gateway });
  phone.client.on('telnyx.ready', () => { phone.ready++; });
  phone.registration = keepRegistered(phone.client, phone.source);
  const show = () => {
    phone.state = phone.registration.state;
    document.querySelector('output').textContent = phone.state;
  };
  show();
  phone.registration.subscribe(({ error, ...event }) => {
    if (error) phone.error = told(error);
    phone.events.push({ ...event, error: error && told(error) });
    show();
  });
}
phone.began = true;

function told({ message, name, outcome, requestId, status, retryable }) {
  return { message, name, outcome, requestId, status, retryable };
}
