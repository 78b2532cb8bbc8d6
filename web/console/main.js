// The console: shows the view of its address, and keeps it current.

import * as address from "./address.js";
import { keepToken } from "./api.js";
import { clock, setText } from "./format.js";
import { List } from "./list.js";
import { Loop } from "./loop.js";
import { TaskView } from "./task.js";

const $ = id => document.getElementById(id);

const list = new List();
const task = new TaskView(
  changed => list.take(changed),
  text => setText($("announcement"), text),
  () => loop.now(),
);
const loop = new Loop(showConnection);
/** Where the list was scrolled to, and which task was opened from it. */
let left = { scroll: 0, task: undefined };

/**
 * Shows the view of the address. `isFirst`: the page has just been opened, so the focus stays where
 * the browser has put it.
 */
function show(isFirst) {
  const parameters = address.read();
  const wasList = !$("list").hidden;
  const isList = !parameters.task;
  if (wasList && !isList) left = { scroll: scrollY, task: parameters.task };
  $("list").hidden = !isList;
  $("task").hidden = isList;
  setText($("announcement"), "");
  if (isList) {
    task.leave();
    const filters = address.filters(parameters);
    fill(filters);
    list.show(filters);
    document.title = filters.status ? `${filters.status} tasks – Deletion Tasks` : "Deletion Tasks";
    if (!wasList && !isFirst) {
      (list.link(left.task) ?? $("list-title")).focus({ preventScroll: true });
      scrollTo(0, left.scroll);
    }
    loop.start(signal => list.round(signal));
  } else {
    task.show(parameters, list.known(parameters.task));
    document.title = `${task.title} – Deletion Tasks`;
    if (wasList && !isFirst) {
      scrollTo(0, 0);
      $("task-title").focus({ preventScroll: true });
    }
    loop.start(signal => task.round(signal));
  }
}

/** Says that the server cannot be reached or why it refuses. What was read before stays. */
function showConnection(failure) {
  const { error, since } = failure ?? {};
  const connection = $("connection");
  const wasLost = connection.classList.contains("lost");
  connection.classList.toggle("lost", Boolean(error));
  if (wasLost && !error) setText($("announcement"), "The server responds again.");
  if (!error) setText(connection, "");
  else if (error.status === 0) setText(connection, `Cannot reach the server since ${clock(since)}; trying again.`);
  else if (error.status === undefined) setText(connection, `The console itself failed at ${clock(since)}; trying again.`);
  else if (error.status === 401) setText(connection, `${error.message}.`);
  else setText(connection, `${error.message} (status ${error.status}, since ${clock(since)}); trying again.`);
}

/** Fills in the filters from the address. */
function fill({ model, since, until }) {
  const { elements } = $("filter");
  elements.model.value = model ?? "";
  elements.since.value = local(since);
  elements.until.value = local(until);
  if (model || since || until) $("more-filters").open = true;
}

/** A time of the address in the form of its input: in the person's own time zone. */
function local(time) {
  const date = new Date(time ?? "");
  if (Number.isNaN(date.valueOf())) return "";
  return new Date(date.valueOf() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

/** The time of an input in the form of the address. */
const universal = value => (value ? new Date(value).toISOString().replace(/\.\d+/, "") : "");

$("filter").addEventListener("submit", event => {
  event.preventDefault();
  const { model, since, until } = event.target.elements;
  const { status } = address.read();
  address.go(address.to({ status, model: model.value, since: universal(since.value), until: universal(until.value) }));
});
$("open").addEventListener("submit", event => {
  event.preventDefault();
  const id = event.target.elements.task.value.trim();
  if (id) address.go(address.to({ ...address.read(), task: id }));
  event.target.reset();
});

history.scrollRestoration = "manual";
keepToken();
addEventListener("hashchange", () => keepToken() && loop.now());
address.follow(() => show(false));
show(true);
