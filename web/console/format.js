// Texts and small elements.

import { serverNow } from "./api.js";

const SVG = "http://www.w3.org/2000/svg";
const numbers = new Intl.NumberFormat("en");

/** A whole number, with its thousands separated. */
export const count = number => numbers.format(number);

/** `1 object`, `2 objects`. */
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** How long ago a time of the API was, in its largest unit. */
export function age(time) {
  const seconds = Math.max(0, Math.floor((serverNow() - Date.parse(time)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** A time of the API for a person. */
export const absolute = time => time.replace("T", " ").replace("Z", " UTC");

/** The time of day in the person's time zone. */
export const clock = date => date.toLocaleTimeString([], { hour12: false });

/** What happened to a task's objects, in words. Outcomes without an object are left out. */
export function progressText({ total, deleted, failed, remaining }) {
  const parts = Object.entries({ deleted, failed, remaining }).filter(([, number]) => number > 0);
  return `${parts.map(([name, number]) => `${count(number)} ${name}`).join(", ")} of ${count(total)}`;
}

/** An element with properties and children. A text is never read as HTML. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** Changes an element's text only if it differs, so that a selection in it stays. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Moves the focus from an element that goes away to `other`, so that it is not lost. */
export function releaseFocus(node, other) {
  if (node.contains(document.activeElement)) other.focus({ preventScroll: true });
}

/** Shows or hides an element. The focus of one that is hidden goes to `other`. */
export function setHidden(node, isHidden, other) {
  if (isHidden) releaseFocus(node, other);
  node.hidden = isHidden;
}

/** A `time` that shows how long ago it was. */
export function setAge(node, time) {
  if (node.dateTime !== time) {
    node.dateTime = time;
    node.title = absolute(time);
  }
  setText(node, age(time));
}

/**
 * A bar of what is deleted, failed and remaining. The numbers are next to it, so it is hidden from
 * screen readers.
 */
export function bar() {
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ class: "progress", viewBox: "0 0 1000 10", preserveAspectRatio: "none", "aria-hidden": "true" })) {
    svg.setAttribute(name, value);
  }
  for (const name of ["deleted", "failed"]) {
    const rect = document.createElementNS(SVG, "rect");
    rect.setAttribute("class", name);
    rect.setAttribute("height", "10");
    svg.append(rect);
  }
  return svg;
}

/**
 * Shows a task's progress in a bar. A single failure among thousands is still visible. In a task
 * that is done, the failed objects were not in the index or can never be there, so they are no
 * reason for an alarm.
 */
export function setBar(svg, { status, progress: { total, deleted, failed } }) {
  svg.classList.toggle("calm", status === "done");
  const width = number => (number ? Math.max(12, (1000 * number) / total) : 0);
  const failedWidth = width(failed);
  const deletedWidth = Math.min(width(deleted), 1000 - failedWidth);
  const [deletedRect, failedRect] = svg.children;
  deletedRect.setAttribute("width", String(deletedWidth));
  failedRect.setAttribute("x", String(deletedWidth));
  failedRect.setAttribute("width", String(failedWidth));
}

/** Shows a status or an outcome as a word in its colour. */
export function setStatus(node, status) {
  if (node.textContent === status) return;
  node.className = `status ${status}`;
  node.textContent = status;
}

/** Whether a spreadsheet would take a text for a formula. */
export const isFormula = text => /^[=+\-@\t\r\n]/.test(text);

/**
 * A line of CSV (RFC 4180). A text that a spreadsheet would take for a formula gets a `'` in front.
 */
export function csvLine(values) {
  const cells = values.map(value => {
    const text = isFormula(value) ? `'${value}` : value;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  });
  return `${cells.join(",")}\r\n`;
}
