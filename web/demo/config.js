// What `tokensvc dev` says about itself, and the misfortunes it can cause.

/** Reads /config.json: where everything listens, and who is there. */
export async function readConfig() {
  const answer = await fetch('config.json', { cache: 'no-store' });
  if (!answer.ok) throw new Error('`tokensvc dev` does not say where its parts are.');
  return answer.json();
}

/** Causes a misfortune, or ends it; answers how all of them stand then. */
export async function cause(name, user, on) {
  const answer = await fetch(`misfortunes/${encodeURIComponent(name)}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ user, on }),
  });
  if (!answer.ok) throw new Error('`tokensvc dev` could not do that.');
  return (await answer.json()).misfortunes;
}
