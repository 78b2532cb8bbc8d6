// The objects of a task by their outcome: page by page, to copy or to download.

import * as address from "./address.js";
import { call } from "./api.js";
import { count, counted, csvLine, element, isFormula, setHidden, setText } from "./format.js";

const OUTCOMES = ["all", "deleted", "failed", "remaining"];
/** The most empty pages that are skipped. */
const MAX_EMPTY = 20;
/** The most tries of one page of a download while the server is busy or cannot be reached. */
const MAX_TRIES = 6;

const $ = id => document.getElementById(id);

/** How many objects of a task have this outcome. */
const number = ({ progress }, outcome) => (outcome === "all" ? progress.total : progress[outcome]);

/** Reads the next page of objects, together with the task as it was then. */
async function page(id, outcome, cursor, signal) {
  let body;
  for (let pages = 0; pages < MAX_EMPTY; pages += 1) {
    ({ body } = await call("GET", "info", { task_id: id, outcome, cursor }, signal));
    cursor = body.items_cursor;
    if (body.items.length || !cursor) break;
  }
  return body;
}

/**
 * Reads a page of a download. If the server is busy, it waits as long as the server says, so that
 * one refusal does not end a long download.
 */
async function patientPage(id, outcome, cursor, signal) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await page(id, outcome, cursor, signal);
    } catch (error) {
      if (tries === MAX_TRIES || ![0, 429, 503, 504].includes(error.status)) throw error;
      const pause = Math.max(error.retryAfter ?? 0, 250 * 2 ** tries);
      await new Promise((resolve, reject) => {
        setTimeout(resolve, pause);
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
    }
  }
}

export class Objects {
  #task;
  #outcome;
  /**
   * Where each page up to the shown one begins: its cursor, and the position of its first object.
   */
  #pages = [];
  #next = null;
  #items = [];
  /** The state of the task when its objects were read; undefined if they were not. */
  #readAt;
  #isReading = false;
  /** Why the last read failed. */
  #problem = "";
  #abort = new AbortController();
  #download;
  #onTask;

  /** `onTask` gets each response about the task. */
  constructor(onTask) {
    this.#onTask = onTask;
    for (const outcome of OUTCOMES) $("outcomes").append(element("a", { "data-outcome": outcome }));
    $("previous").addEventListener("click", () => this.#turn(this.#pages.slice(0, -1)));
    $("next").addEventListener("click", () => {
      const { first } = this.#pages.at(-1);
      this.#turn([...this.#pages, { cursor: this.#next, first: first + this.#items.length }]);
    });
    $("objects-reload").addEventListener("click", () => this.#readFirst());
    $("copy").addEventListener("click", () => this.#copy());
    $("csv").addEventListener("click", () => this.#save("csv"));
    $("jsonl").addEventListener("click", () => this.#save("jsonl"));
    $("download-stop").addEventListener("click", () => this.#download.abort());
  }

  /** Forgets everything, since another task is shown or none. */
  leave() {
    this.#download?.abort();
    this.#task = undefined;
    this.#outcome = undefined;
    this.#clear();
  }

  #clear() {
    this.#abort.abort();
    this.#pages = [];
    this.#items = [];
    this.#next = null;
    this.#readAt = undefined;
    this.#isReading = false;
    this.#problem = "";
    $("items").replaceChildren();
  }

  /**
   * Shows a task's objects. `parameters` are those of the address. Without an outcome among them,
   * the failures are shown first, if there are any.
   */
  show(task, parameters) {
    const given = OUTCOMES.find(one => one === parameters.outcome);
    const outcome = given ?? this.#outcome ?? (task.progress.failed > 0 ? "failed" : "all");
    const isOther = outcome !== this.#outcome;
    if (isOther) this.#clear();
    this.#task = task;
    this.#outcome = outcome;
    for (const link of $("outcomes").children) {
      const own = link.dataset.outcome;
      link.href = address.to({ ...parameters, outcome: own });
      setText(link, `${own} ${count(number(task, own))}`);
      if (own === outcome) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (isOther || (this.#isStale() && this.#canReadAgain())) this.#readFirst();
    this.#render();
  }

  /** Whether the task has changed since the shown objects were read. */
  #isStale() {
    return !this.#isReading && this.#readAt !== state(this.#task);
  }

  /** Whether the first page can be read again without disturbing the person. */
  #canReadAgain() {
    const isMoving = this.#task.status === "processing" && !this.#problem;
    return !isMoving && this.#pages.length < 2 && !$("items").contains(getSelection().anchorNode);
  }

  #readFirst() {
    return this.#read([{ cursor: undefined, first: 1 }]);
  }

  /** Reads another page, and shows it from its beginning. */
  async #turn(pages) {
    await this.#read(pages);
    $("objects-title").scrollIntoView();
  }

  async #read(pages) {
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.#isReading = true;
    try {
      const body = await page(this.#task.id, this.#outcome, pages.at(-1).cursor, signal);
      this.#pages = pages;
      this.#items = body.items;
      this.#next = body.items_cursor;
      this.#readAt = state(body);
      this.#problem = "";
      this.#isReading = false;
      $("items").replaceChildren(...body.items.map(row));
      setText($("objects-note"), "");
      this.#onTask(body);
    } catch (error) {
      if (signal.aborted) return;
      this.#isReading = false;
      this.#readAt = undefined;
      this.#problem = `The objects could not be read: ${error.message}.`;
    }
    this.#render();
  }

  #render() {
    const { first } = this.#pages.at(-1) ?? { first: 1 };
    const total = number(this.#task, this.#outcome);
    const last = first + this.#items.length - 1;
    const isEmpty = this.#items.length === 0;
    const noObject = this.#readAt === undefined ? "" : `No object has the outcome “${this.#outcome}”.`;
    const range = first === last ? count(first) : `${count(first)} to ${count(last)}`;
    $("objects").hidden = isEmpty;
    $("objects-stale").hidden = !this.#isStale();
    setText($("objects-why"), this.#problem || "The task has changed since these objects were read.");
    for (const id of ["copy", "csv", "jsonl"]) $(id).hidden = isEmpty;
    setText($("copy"), this.#items.length === 1 ? "Copy the id" : `Copy these ${counted(this.#items.length, "id")}`);
    setText($("range"), isEmpty ? noObject : `${range} of ${count(total)}`);
    setHidden($("previous"), this.#pages.length < 2, $("objects-title"));
    setHidden($("next"), !this.#next, $("objects-title"));
  }

  async #copy() {
    const ids = this.#items.map(({ object_id }) => object_id);
    try {
      await navigator.clipboard.writeText(`${ids.join("\n")}\n`);
      setText($("objects-note"), `Copied ${counted(ids.length, "id")}, one a line.`);
    } catch {
      setText($("objects-note"), "The browser does not let this page copy. Download the ids instead.");
    }
  }

  /** Reads every page of the outcome, and hands them to the browser as one file. */
  async #save(kind) {
    this.#download?.abort();
    this.#download = new AbortController();
    const { signal } = this.#download;
    const [task, outcome] = [this.#task, this.#outcome];
    const lines = [kind === "csv" ? csvLine(["object_id", "outcome", "detail"]) : ""];
    let written = 0;
    let formulas = 0;
    let cursor;
    showDownload(0, number(task, outcome));
    $("download").hidden = false;
    try {
      do {
        const body = await patientPage(task.id, outcome, cursor, signal);
        if (body.attempt !== task.attempt) throw new Error("the task was restarted meanwhile. Begin again");
        lines.push(body.items.map(kind === "csv" ? csvItem : jsonItem).join(""));
        written += body.items.length;
        formulas += body.items.filter(({ object_id, detail }) => isFormula(object_id) || isFormula(detail ?? "")).length;
        cursor = body.items_cursor;
        showDownload(written, number(body, outcome));
      } while (cursor);
      offer(new Blob(lines, { type: kind === "csv" ? "text/csv" : "application/jsonl" }), `${fileName(task.id)}-${outcome}.${kind}`);
      const guarded = kind === "csv" && formulas > 0;
      const note = ` In ${count(formulas)} of them a ' stands before =, +, - or @, so that no spreadsheet computes it.`;
      setText($("objects-note"), `Downloaded ${counted(written, "object")}.${guarded ? note : ""}`);
    } catch (error) {
      if (this.#task?.id !== task.id) return;
      setText($("objects-note"), signal.aborted ? "The download was stopped." : `The download ended: ${error.message}.`);
    } finally {
      if (this.#download.signal === signal) setHidden($("download"), true, $("objects-title"));
    }
  }
}

/** A text that changes whenever an object moves from one outcome to another. */
const state = ({ attempt, progress: { deleted, failed } }) => [attempt, deleted, failed].join();

const csvItem = ({ object_id, outcome, detail }) => csvLine([object_id, outcome, detail ?? ""]);
const jsonItem = ({ object_id, outcome, detail }) => `${JSON.stringify({ object_id, outcome, detail })}\n`;

/** An id in a form that can be part of a file's name on every system. */
const fileName = id => id.replaceAll(/[^A-Za-z0-9._-]+/g, "_").slice(0, 80);

function showDownload(written, total) {
  $("download-bar").max = Math.max(1, written, total);
  $("download-bar").value = written;
  setText($("download-text"), `${count(written)} of ${counted(total, "object")}`);
}

function offer(blob, download) {
  const href = URL.createObjectURL(blob);
  element("a", { href, download }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

function row({ object_id, outcome, detail }) {
  const cell = (className, child) => element("td", { role: "cell", className }, child);
  return element(
    "tr",
    { role: "row" },
    cell("status-column", element("span", { className: `status ${outcome}`, textContent: outcome })),
    cell("id", object_id),
    cell("detail", detail ?? ""),
  );
}
