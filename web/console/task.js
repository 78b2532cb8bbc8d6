// One task: who asked for it and why, how far it is, and its objects.

import * as address from "./address.js";
import { ApiError, call } from "./api.js";
import { ask, isPossible } from "./dialog.js";
import { absolute, age, bar, count, element, progressText, setAge, setBar, setHidden, setStatus, setText } from "./format.js";
import { Objects } from "./objects.js";
import { isActive, merged } from "./state.js";

/** Milliseconds until the next read of a task that has ended. Somebody else may restart it. */
const ENDED = 10_000;
/** Milliseconds until the next read of a task that has not ended, if the server does not say. */
const ACTIVE = 2_000;
/** The fields that are shown of a task in addition to its progress, with their labels. */
const FIELDS = {
  detail: "Why it failed",
  reason: "Reason",
  created_by: "Created by",
  changed_by: "Last restarted or canceled by",
  embedding_model_id: "Model",
  created_at: "Created",
  updated_at: "Updated",
  attempt: "Attempt",
};

const $ = id => document.getElementById(id);

export class TaskView {
  #parameters = {};
  #task;
  #onTask;
  #announce;
  #readNow;
  #objects = new Objects(task => this.#take(task));
  #status = element("span");
  #bar = bar();
  #progress = element("span");
  #fields = {};

  /**
   * `onTask` gets each response about a task; `announce` tells screen readers of a change;
   * `readNow` begins a round.
   */
  constructor(onTask, announce, readNow) {
    this.#onTask = onTask;
    this.#announce = announce;
    this.#readNow = readNow;
    $("summary").append(this.#status, this.#bar, this.#progress);
    for (const [key, label] of Object.entries(FIELDS)) {
      const value = key.endsWith("_at") ? element("time") : element("span", { className: "id" });
      this.#fields[key] = value;
      $("fields").append(element("div", {}, element("dt", { textContent: label }), element("dd", {}, value)));
    }
    $("restart").addEventListener("click", () => this.#act("restart"));
    $("cancel").addEventListener("click", () => this.#act("cancel"));
    setInterval(() => this.#task && this.#setTimes(), 1_000);
  }

  /** Shows the task that the address names. `known` is what the list knows of it. */
  show(parameters, known) {
    if (parameters.task !== this.#parameters.task) {
      this.leave();
      setText($("task-title"), parameters.task);
    }
    this.#parameters = parameters;
    $("back").href = address.to(address.filters(parameters));
    if (this.#task ?? known) this.#take(this.#task ?? known);
  }

  /** Forgets the task. */
  leave() {
    this.#task = undefined;
    this.#parameters = {};
    this.#objects.leave();
    for (const id of ["task-known", "restart", "cancel", "task-problem", "download"]) $(id).hidden = true;
    for (const id of ["objects-note", "task-problem"]) setText($(id), "");
  }

  /** The page's title. */
  get title() {
    return this.#task ? `${this.#task.id}: ${this.#task.status}` : this.#parameters.task;
  }

  /** Reads the task. Returns the milliseconds until it is worth reading again. */
  async round(signal) {
    try {
      const { body, retryAfter } = await call("GET", "info", { task_id: this.#parameters.task }, signal);
      this.#say("");
      this.#take(body);
      return retryAfter ?? (isActive(body) ? ACTIVE : ENDED);
    } catch (error) {
      if (![404, 422].includes(error.status)) throw error;
      this.#say(`${error.message}.`);
      return ENDED;
    }
  }

  #say(problem) {
    $("task-problem").hidden = !problem;
    setText($("task-problem"), problem);
  }

  #take(given) {
    if (given.id !== this.#parameters.task) return;
    const before = this.#task;
    const task = merged(before, given);
    this.#task = task;
    this.#onTask(task);
    if (before && before.status !== task.status) this.#announce(`The task is ${task.status}: ${progressText(task.progress)}.`);
    setStatus(this.#status, task.status);
    setBar(this.#bar, task);
    setText(this.#progress, progressText(task.progress));
    for (const key of ["embedding_model_id", "reason", "created_by", "changed_by", "detail"]) {
      const value = this.#fields[key];
      setText(value, task[key] ?? "–");
      value.closest("div").hidden = task[key] === undefined || (key === "detail" && task[key] === null);
    }
    setText(this.#fields.attempt, count(task.attempt));
    this.#setTimes();
    for (const action of ["restart", "cancel"]) setHidden($(action), !isPossible(action, task), $("task-title"));
    $("task-known").hidden = false;
    this.#objects.show(task, this.#parameters);
    document.title = `${this.title} – Deletion Tasks`;
  }

  #setTimes() {
    for (const key of ["created_at", "updated_at"]) {
      const time = this.#task[key];
      setAge(this.#fields[key], time);
      setText(this.#fields[key], `${absolute(time)}, ${age(time)} ago`);
    }
  }

  async #act(action) {
    const { id } = this.#task;
    let problem = "";
    try {
      // The dialog shows the current numbers.
      this.#take((await call("GET", "info", { task_id: id })).body);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      problem = `The task could not be read: ${error.message}.`;
    }
    // The person may have left the task meanwhile.
    if (this.#task?.id !== id) return;
    this.#say(problem);
    if (problem) return;
    if (!isPossible(action, this.#task)) {
      this.#say(`The task is ${this.#task.status} now.`);
      return;
    }
    if (await ask(action, this.#task, task => this.#take(task))) this.#readNow();
    if ($(action).hidden) $("task-title").focus();
  }
}
