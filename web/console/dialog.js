// Restart and cancel: the dialog says what will happen, in numbers, and then makes the call.

import { call } from "./api.js";
import { count, counted, setHidden, setText } from "./format.js";
import { isActive } from "./state.js";

const $ = id => document.getElementById(id);

/** The texts of each action, when it is possible and what it will do. */
const ACTIONS = {
  restart: {
    title: "Restart this task?",
    confirm: "Restart the task",
    isPossible: ({ status }) => status !== "processing",
    effect: restartEffect,
  },
  cancel: {
    title: "Cancel this task?",
    confirm: "Cancel the task",
    isPossible: isActive,
    effect: cancelEffect,
  },
};

/** Whether an action can change a task as it is now. */
export const isPossible = (action, task) => ACTIONS[action].isPossible(task);

function restartEffect({ status, progress: { total, deleted } }, scope) {
  if (status === "pending") return "The task waits for the worker. Its message goes onto the queue once more, and nothing else changes.";
  if (scope === "all") {
    const again = ` ${count(deleted)} ${deleted === 1 ? "was" : "were"} deleted before; what was inserted under ${deleted === 1 ? "its id" : "their ids"} since then is deleted too.`;
    return `Tries every object again (${count(total)}).${deleted ? again : ""}`;
  }
  const open = total - deleted;
  if (open === 0) return `Every object is deleted (${count(total)}). Nothing is tried again: the task becomes pending, and then done.`;
  const kept = deleted ? ` ${count(deleted)} ${deleted === 1 ? "stays" : "stay"} deleted.` : "";
  return `Tries the ${counted(open, "object")} again that ${open === 1 ? "was" : "were"} not deleted.${kept}`;
}

function cancelEffect({ progress: { deleted, failed, remaining } }) {
  const parts = [
    "Stops the task.",
    remaining && `${counted(remaining, "object")} will not be deleted.`,
    deleted && `${count(deleted)} ${deleted === 1 ? "stays" : "stay"} deleted.`,
    failed && `${count(failed)} ${failed === 1 ? "has" : "have"} failed.`,
    "What a worker deletes at this moment is finished and counted. A restart goes on with the rest.",
  ];
  return parts.filter(Boolean).join(" ");
}

/**
 * Asks for confirmation, and then carries the action out. `onTask` gets each response about the
 * task.
 *
 * @returns {Promise<boolean>} whether the task was changed
 */
export function ask(action, task, onTask) {
  const { title, confirm, effect } = ACTIONS[action];
  const dialog = $("dialog");
  const form = $("dialog-form");
  const problem = $("dialog-problem");
  let isBusy = false;

  const scope = () => (action === "restart" && !isActive(task) ? form.elements.scope.value : undefined);
  const render = () => {
    $("scope").hidden = scope() === undefined;
    setHidden($("dialog-confirm"), !isPossible(action, task), $("dialog-leave"));
    setText($("dialog-effect"), isPossible(action, task) ? effect(task, scope()) : `The task is ${task.status}.`);
  };
  const refuse = text => {
    problem.hidden = false;
    setText(problem, `${text}.`);
  };

  /**
   * Makes the call. It names the attempt that the person has seen, so it is safe to repeat. Returns
   * whether the task was changed.
   */
  const carryOut = async () => {
    const wanted = { task_id: task.id, attempt: task.attempt, scope: scope() === "all" ? "all" : undefined };
    try {
      onTask((await call("PUT", action, wanted)).body);
      return true;
    } catch (error) {
      const isOpen = error.status === 0 || error.status >= 500;
      refuse(isOpen ? `${error.message}. The task may have changed nevertheless. To try again is safe: it changes the task once at most` : error.message);
      if (error.status !== 409) return false;
      task = (await call("GET", "info", { task_id: task.id })).body;
      onTask(task);
      refuse(`${error.message}. Nothing was changed, and the task was read again: it is ${task.status}, at attempt ${count(task.attempt)}`);
      return false;
    }
  };
  /**
   * Keeps the dialog open while the call is in flight. The call can no longer be taken back, and
   * its response is shown here.
   */
  const setBusy = value => {
    isBusy = value;
    form.ariaBusy = String(value);
    $("dialog-leave").disabled = value;
  };

  setText($("dialog-title"), title);
  setText($("dialog-task"), task.id);
  setText($("dialog-confirm"), confirm);
  problem.hidden = true;
  form.reset();
  render();
  return new Promise(resolve => {
    let isChanged = false;
    form.onchange = render;
    form.onsubmit = async event => {
      event.preventDefault();
      if (isBusy) return;
      setBusy(true);
      try {
        isChanged = await carryOut();
      } catch (error) {
        refuse(error.message);
      }
      setBusy(false);
      if (isChanged) dialog.close();
      else render();
    };
    $("dialog-leave").onclick = () => dialog.close();
    // This must not return false, which would also cancel the event.
    dialog.oncancel = event => {
      if (isBusy) event.preventDefault();
    };
    dialog.onclose = () => resolve(isChanged);
    dialog.showModal();
  });
}
