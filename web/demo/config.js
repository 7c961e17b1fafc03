// What `tokensvc dev` says about itself, and the misfortunes it can cause.

/** Reads /config.json: where everything listens, and who is there. */
export async function readConfig() {
  const answer = await ask('config.json', { cache: 'no-store' });
  return answer.json();
}

/** Causes a misfortune, or ends it; answers how all of them stand then. */
export async function cause(name, user, on) {
  const answer = await ask(`misfortunes/${encodeURIComponent(name)}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ user, on }),
  });
  return (await answer.json()).misfortunes;
}

async function ask(path, options) {
  const answer = await fetch(path, options).catch(() => null);
  if (!answer) throw new Error('Nobody answers. Is tokensvc dev still running?');
  if (!answer.ok) throw new Error(`tokensvc dev says no, with status ${answer.status}.`);
  return answer;
}
