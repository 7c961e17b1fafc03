// Whether the phone would ring, in a word, a colour and a sentence.

import { byId, say } from './dom.js';
import { doing, stateWord } from './words.js';

/** Shows the facts; see doing() in words.js for what they are. */
export function showRegistration(facts) {
  byId('registration').dataset.state = facts.state;
  say(byId('state'), stateWord[facts.state] ?? facts.state);
  say(byId('doing'), doing(facts));
  document.title = `${stateWord[facts.state] ?? 'Softphone'} · tokensvc dev`;
}
