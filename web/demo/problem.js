// What stopped the phone, told to the person in front of it.

import { byId, element } from './dom.js';
import { meaning } from './words.js';

/**
 * Shows an error, or nothing for null.
 * @param {{signIn: (other: boolean) => void, shows: string|null}} with shows: what this made-up person is there to show
 */
export function showProblem(error, { signIn, shows } = {}) {
  const panel = byId('problem');
  panel.hidden = !error;
  panel.replaceChildren(...(error ? told(error, signIn, shows) : []));
}

function told(error, signIn, shows) {
  if (!error.outcome) return [element('h2', {}, error.message)];
  const { title, said, advice, signIn: mustSignIn } = meaning(error);
  const parts = [element('h2', {}, title), element('p', {}, advice)];
  if (shows) parts.push(element('p', { class: 'hint' }, `This is a made-up person, who ${shows}.`));
  parts.push(facts(error, said));
  if (mustSignIn) parts.push(button('Sign in again', () => signIn(false)));
  if (shows) parts.push(button('Be somebody else', () => signIn(true)));
  return parts;
}

function button(text, press) {
  const made = element('button', { type: 'button' }, text);
  made.addEventListener('click', press);
  return made;
}

function facts(error, said) {
  return element('p', { class: 'facts' },
    said && element('span', {}, `“${said}”`),
    element('span', {}, 'outcome ', element('code', {}, error.outcome)),
    error.requestId && element('span', {}, 'request ', element('code', {}, error.requestId)));
}
