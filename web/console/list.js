// The list of tasks, newest first. It reads the newest tasks again and again, and changes only what
// differs.

import * as address from "./address.js";
import { call } from "./api.js";
import { bar, count, counted, element, progressText, releaseFocus, setAge, setBar, setStatus, setText } from "./format.js";
import { STATUSES, byAge, isActive, merged } from "./state.js";

/** The rows of a page. */
const PAGE = 100;
/**
 * The most pages that are read one after the other. With a filter, a page may be empty and still
 * not be the last one.
 */
const MAX_PAGES = 10;
/** Milliseconds between two reads of the newest tasks. */
const POLL = 3_000;
/** Milliseconds until the next read of a task, if the server does not say. */
const REFRESH = 2_000;
/** Milliseconds until the next read after the server has refused the filters. */
const REFUSED = 30_000;
/**
 * Milliseconds after which a list is assumed to hold every task that was created before a listed
 * one. A list may lag, and tasks of one second are in the order of their ids.
 */
const SETTLED = 5_000;
/** The most reads of single tasks at once. */
const CONCURRENCY = 4;

const $ = id => document.getElementById(id);

export class List {
  #filters = {};
  /**
   * The entries by id: the task, its row, when it was first read, when to read it again, and
   * whether its row is visible.
   */
  #entries = new Map();
  /** The same entries in the order of the rows. */
  #order = [];
  /** The same entries by their rows. */
  #byRow = new WeakMap();
  /**
   * The cursor at the end of the rows: null after the last task, undefined before the first read.
   */
  #cursor;
  #pollAt = 0;
  /** When the newest tasks were last read, and when the newest one of them was created. */
  #polled = { at: 0, newest: 0 };
  #isReadingMore = false;
  #moreFailed;
  #abort = new AbortController();
  #visible = new IntersectionObserver(changes => this.#see(changes));
  /** Reads the next page before the last row is reached. */
  #nearEnd = new IntersectionObserver(seen => seen.at(-1).isIntersecting && !this.#moreFailed && this.#readMore(), { rootMargin: "800px" });

  constructor() {
    $("more").addEventListener("click", () => this.#readMore());
    this.#nearEnd.observe($("more"));
    for (const status of ["", ...STATUSES]) {
      $("statuses").append(element("a", { textContent: status || "all", "data-status": status }));
    }
    setInterval(() => this.#order.forEach(entry => entry.isVisible && setAge(entry.parts.age, entry.task.created_at)), 1_000);
  }

  /** Lists the tasks with these filters. If they are the same as before, the rows stay. */
  show(filters) {
    const isSame = this.#cursor !== undefined && address.to(filters) === address.to(this.#filters);
    this.#pollAt = 0;
    for (const link of $("statuses").children) {
      const { status } = link.dataset;
      link.href = address.to({ ...filters, status });
      if (status === (filters.status ?? "")) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (isSame) return;
    this.#filters = filters;
    this.#say("");
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#isReadingMore = false;
    this.#moreFailed = undefined;
    this.#clear();
    this.#cursor = undefined;
    this.#render();
  }

  /** What the list knows of a task. */
  known(id) {
    return this.#entries.get(id)?.task;
  }

  /** The link to a task, if the list has it. */
  link(id) {
    return this.#entries.get(id)?.parts.link;
  }

  /** Reads what is due. Returns the milliseconds until something is due again. */
  async round(signal) {
    if (Date.now() >= this.#pollAt) {
      try {
        await this.#readNewest(signal);
      } catch (error) {
        if (error.status !== 422) throw error;
        this.#say(`${error.message}.`);
        return REFUSED;
      }
      this.#say("");
      this.#pollAt = Date.now() + POLL;
    }
    await this.#refresh(signal);
    const dues = this.#order.filter(needsReading).map(({ due }) => due);
    return Math.max(250, Math.min(this.#pollAt, ...dues) - Date.now());
  }

  #say(problem) {
    $("list-problem").hidden = !problem;
    setText($("list-problem"), problem);
  }

  /** Takes in a response about a task of the list. */
  take(task) {
    if (this.#entries.has(task.id)) this.#take(task);
  }

  async #page(cursor, signal) {
    const { status, model, since, until } = this.#filters;
    const filters = { status, embedding_model_id: model, created_after: since, created_before: until };
    return (await call("GET", "list", { ...filters, limit: PAGE, cursor }, signal)).body;
  }

  /**
   * Reads the newest tasks, page by page, until a page has a task behind which nothing can be new.
   */
  async #readNewest(signal) {
    const at = Date.now();
    const tasks = [];
    let cursor;
    let meets = false;
    for (let pages = 0; pages < MAX_PAGES; pages += 1) {
      const page = await this.#page(cursor, signal);
      tasks.push(...page.tasks);
      cursor = page.next_cursor;
      meets ||= page.tasks.some(({ id }) => this.#entries.has(id));
      const isEnough = this.#entries.size === 0 && tasks.length > 0;
      if (!cursor || isEnough || page.tasks.some(({ id }) => this.#isSettled(this.#entries.get(id)))) break;
    }
    if (!meets && (cursor || this.#entries.size === 0)) {
      this.#clear();
      this.#cursor = cursor;
    }
    const listed = new Set(tasks.map(({ id }) => id));
    const last = tasks.at(-1);
    for (const entry of this.#order) {
      if (cursor && byAge(entry.task, last) > 0) break;
      // A list may lag, so a task that it no longer has is read by itself before its row is
      // removed.
      if (!listed.has(entry.task.id)) entry.isMissing = true;
    }
    tasks.forEach(task => this.#take(task));
    this.#polled = { at, newest: Date.parse(this.#order[0]?.task.created_at ?? 0) };
    this.#render();
  }

  /** Whether everything older than a task had been read when the newest tasks were last read. */
  #isSettled(entry) {
    const { at, newest } = this.#polled;
    return entry !== undefined && (entry.since <= at - SETTLED || Date.parse(entry.task.created_at) < newest - SETTLED);
  }

  /** Reads the visible tasks that have not ended, and those that the list no longer has. */
  async #refresh(signal) {
    const due = this.#order.filter(entry => needsReading(entry) && entry.due <= Date.now());
    const reader = async () => {
      for (let entry = due.shift(); entry; entry = due.shift()) {
        const { id } = entry.task;
        try {
          const { body, retryAfter } = await call("GET", "info", { task_id: id }, signal);
          entry.isMissing = false;
          entry.due = Date.now() + (retryAfter ?? REFRESH);
          this.#take(body);
        } catch (error) {
          if (error.status !== 404) throw error;
          this.#remove(entry);
        }
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, reader));
    this.#render();
  }

  async #readMore() {
    if (this.#isReadingMore || !this.#cursor) return;
    const { signal } = this.#abort;
    this.#isReadingMore = true;
    this.#moreFailed = undefined;
    try {
      let tasks = [];
      for (let pages = 0; pages < MAX_PAGES && this.#cursor && tasks.length === 0; pages += 1) {
        const page = await this.#page(this.#cursor, signal);
        tasks = page.tasks;
        this.#cursor = page.next_cursor;
      }
      tasks.forEach(task => this.#take(task));
    } catch (error) {
      if (signal.aborted) return;
      this.#moreFailed = error.message;
    }
    this.#isReadingMore = false;
    this.#render();
    // The observer reports only changes, and the end may still be near.
    this.#nearEnd.unobserve($("more"));
    this.#nearEnd.observe($("more"));
  }

  #take(given) {
    let entry = this.#entries.get(given.id);
    const task = merged(entry?.task, given);
    const { status } = this.#filters;
    const hasFocus = entry?.row.contains(document.activeElement);
    if (status && task.status !== status && !hasFocus) {
      if (entry) this.#remove(entry);
      return;
    }
    if (entry && entry.task.created_at !== task.created_at) {
      this.#remove(entry);
      entry = undefined;
    }
    entry ??= this.#insert(task);
    entry.task = task;
    const { parts } = entry;
    setStatus(parts.status, task.status);
    setText(parts.model, task.embedding_model_id);
    setBar(parts.bar, task);
    setText(parts.progress, progressText(task.progress));
    setAge(parts.age, task.created_at);
    setText(parts.attempt, count(task.attempt));
  }

  #insert(task) {
    const { row, parts } = newRow(task.id, address.to({ ...this.#filters, task: task.id }));
    const entry = { task, row, parts, since: Date.now(), due: Date.now() + REFRESH, isVisible: false };
    let [from, to] = [0, this.#order.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (byAge(this.#order[middle].task, task) < 0) from = middle + 1;
      else to = middle;
    }
    $("rows").insertBefore(row, this.#order[from]?.row ?? null);
    this.#order.splice(from, 0, entry);
    this.#entries.set(task.id, entry);
    this.#byRow.set(row, entry);
    this.#visible.observe(row);
    return entry;
  }

  #remove(entry) {
    this.#visible.unobserve(entry.row);
    releaseFocus(entry.row, $("list-title"));
    entry.row.remove();
    this.#entries.delete(entry.task.id);
    this.#order.splice(this.#order.indexOf(entry), 1);
  }

  #clear() {
    this.#visible.disconnect();
    releaseFocus($("rows"), $("list-title"));
    $("rows").replaceChildren();
    this.#entries.clear();
    this.#order = [];
  }

  #see(changes) {
    for (const { target, isIntersecting } of changes) {
      const entry = this.#byRow.get(target);
      entry.isVisible = isIntersecting;
      if (isIntersecting) setAge(entry.parts.age, entry.task.created_at);
    }
  }

  #render() {
    $("more").hidden = !this.#cursor;
    $("tasks").hidden = this.#order.length === 0;
    setText($("list-end"), this.#end());
  }

  /** The text below the rows. */
  #end() {
    const shown = this.#order.length;
    const isFiltered = address.to(this.#filters) !== "/";
    if (this.#cursor === undefined) return "";
    if (this.#moreFailed) return `The next tasks could not be read: ${this.#moreFailed}.`;
    if (this.#cursor) return shown ? `${counted(shown, "task")}, and there are more.` : "No such task among the newest. “More” reads on.";
    if (shown) return `${counted(shown, "task")}. There are no others.`;
    if (isFiltered) return "No task has this status, this model and this time.";
    return "No task yet. A POST to /internal/deletion-tasks/run creates one.";
  }
}

const needsReading = ({ isMissing, isVisible, task }) => isMissing || (isVisible && isActive(task));

function newRow(id, href) {
  const parts = {
    status: element("span"),
    link: element("a", { href, textContent: id, className: "id" }),
    model: element("span", { className: "id" }),
    bar: bar(),
    progress: element("span"),
    age: element("time"),
    attempt: element("span"),
  };
  const cell = (className, ...children) => element("td", { role: "cell", className }, ...children);
  const row = element(
    "tr",
    { role: "row" },
    cell("status-column", parts.status),
    cell("task-column", parts.link),
    cell("model-column", parts.model),
    cell("progress-column", parts.bar, parts.progress),
    cell("number-column age", parts.age),
    cell("number-column attempt", parts.attempt),
  );
  return { row, parts };
}
