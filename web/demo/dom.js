// Small things that every part of the page needs: elements, and time in words.

/** An element with its attributes and what is in it; text stays text. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, '');
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child != null && child !== '' && child !== false));
  return made;
}

export const byId = (id) => document.getElementById(id);

/** Sets text only if it is another: a live region would be read out again. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** 23:59:41, or 4:07 below an hour. */
export function countdown(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (n) => String(n).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** "23 hours", "4 minutes", "10 seconds": as exact as somebody would say it. */
export function roughly(ms) {
  const units = [['hour', 3_600_000], ['minute', 60_000], ['second', 1000]];
  const [name, size] = units.find(([, size]) => ms >= 2 * size) ?? ['second', 1000];
  const n = Math.max(0, Math.round(ms / size));
  return `${n} ${name}${n === 1 ? '' : 's'}`;
}

/** 14:03 by the clock of who looks, and Thu 14:03 if that is not today. */
export function clock(at, now = Date.now()) {
  const sameDay = new Date(at).toDateString() === new Date(now).toDateString();
  const options = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' };
  return new Date(at).toLocaleTimeString('en', sameDay ? options : { ...options, weekday: 'short' });
}

/** 0.04 ms, 5.1 ms, 51 ms: two figures are enough. */
export function millis(ms) {
  if (ms < 0.005) return 'under 0.01 ms';
  return `${ms >= 10 ? Math.round(ms) : ms.toFixed(ms >= 1 ? 1 : 2)} ms`;
}
