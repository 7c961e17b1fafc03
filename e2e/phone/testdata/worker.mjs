// The token's source alone, in a worker: no document, and no SDK.
const config = await (await fetch('/config.json')).json();
const { createTokenSource } = await import(config.module);
const source = createTokenSource({
  url: config.service,
  bearer: async () => (await fetch('/bearer', { method: 'POST', body: 'alice' })).text(),
});
source.get().then(
  ({ device, expiresAt, requestId }) => postMessage({ device, life: expiresAt - Date.now(), requestId }),
  ({ message }) => postMessage({ failed: message }),
);
