// The buttons of everything that can go wrong.

import { byId, element } from './dom.js';
import { misfortuneHints } from './words.js';

/**
 * @param {object} with
 * @param {(name: string, on: boolean|null) => Promise<Array>} with.cause causes one, and answers how all stand
 * @param {(event: object) => void} with.onCaused is told what was pressed
 * @param {(on: Set<string>) => void} with.onStand is told which of them last now
 */
export function createMisfortunes({ cause, onCaused, onStand }) {
  const list = byId('misfortunes');

  function show(misfortunes) {
    const focused = document.activeElement?.dataset?.misfortune;
    list.replaceChildren(...misfortunes.map(button), secondTab());
    if (focused) list.querySelector(`[data-misfortune="${CSS.escape(focused)}"]`)?.focus();
    onStand(new Set(misfortunes.filter(({ on }) => on).map(({ name }) => name)));
  }

  function button({ name, title, on }) {
    const made = element('button', { type: 'button', 'data-misfortune': name, 'aria-pressed': on == null ? null : String(on) },
      element('span', { class: 'title' }, title),
      element('span', { class: 'hint' }, misfortuneHints[name]));
    made.addEventListener('click', () => press(made, { name, title, on }));
    return element('li', {}, made);
  }

  async function press(made, { name, title, on }) {
    if (made.hasAttribute('aria-disabled')) return;
    made.setAttribute('aria-disabled', 'true'); // not `disabled`, which would lose the focus
    const wanted = on == null ? null : !on;
    try {
      onCaused({ type: 'misfortune', name, title, on: wanted });
      show(await cause(name, wanted));
    } catch (error) {
      made.removeAttribute('aria-disabled');
      onCaused({ type: 'misfortune', name, title: error.message, on: null });
    }
  }

  return { show };
}

function secondTab() {
  return element('li', {}, element('a', { href: './?tab', target: '_blank', rel: 'noopener', 'data-test': 'second-tab' },
    element('span', { class: 'title' }, 'Second tab'),
    element('span', { class: 'hint' }, 'Shares this one’s token')));
}
