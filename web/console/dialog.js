// Restart and cancel: the dialog says what will happen, in numbers, and then makes the call.

import { call } from "./api.js";
import { count, objects, setText } from "./format.js";
import { isActive } from "./state.js";

const $ = id => document.getElementById(id);

/** What each action is called, when it is possible and what it will do. */
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
    const again = deleted ? `, the ${count(deleted)} deleted before among them. What was inserted under their ids since then is deleted too` : "";
    return `Tries all ${objects(total)} again${again}.`;
  }
  const open = total - deleted;
  if (open === 0) return `All ${objects(total)} are deleted. Nothing is tried again: the task becomes pending, and then done.`;
  const kept = deleted ? ` ${count(deleted)} ${deleted === 1 ? "stays" : "stay"} deleted.` : "";
  return `Tries the ${objects(open)} again that ${open === 1 ? "was" : "were"} not deleted.${kept}`;
}

function cancelEffect({ progress: { deleted, failed, remaining } }) {
  const parts = [`Stops the task. ${count(remaining)} of its objects ${remaining === 1 ? "remains" : "remain"}, and will not be deleted.`];
  if (deleted) parts.push(`${count(deleted)} ${deleted === 1 ? "stays" : "stay"} deleted.`);
  if (failed) parts.push(`${count(failed)} ${failed === 1 ? "has" : "have"} failed.`);
  parts.push("What a worker deletes at this moment is finished and counted. A restart goes on with the rest.");
  return parts.join(" ");
}

/**
 * Asks, and carries out what is confirmed. `onTask` gets each response about the task.
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
    $("dialog-confirm").hidden = !isPossible(action, task);
    setText($("dialog-effect"), isPossible(action, task) ? effect(task, scope()) : `The task is ${task.status}.`);
  };
  const refuse = text => {
    problem.hidden = false;
    setText(problem, text);
  };

  /** Makes the call. It names the attempt that the person has seen, so repeating it does no harm. */
  const carryOut = async () => {
    const wanted = { task_id: task.id, attempt: task.attempt, scope: scope() === "all" ? "all" : undefined };
    try {
      onTask((await call("PUT", action, wanted)).body);
      return true;
    } catch (error) {
      if (error.status === 409) {
        task = (await call("GET", "info", { task_id: task.id })).body;
        onTask(task);
        refuse(`${error.message}. Nothing was changed, and the task was read again: it is ${task.status}, at attempt ${count(task.attempt)}.`);
      } else {
        const isOpen = error.status === 0 || error.status >= 500;
        refuse(`${error.message}.${isOpen ? " The task may have changed nevertheless. To try again is safe: it changes the task once at most." : ""}`);
      }
      return false;
    }
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
      isBusy = true;
      form.ariaBusy = "true";
      try {
        isChanged = await carryOut();
        if (isChanged) dialog.close();
        else render();
      } catch (error) {
        refuse(error.message);
      } finally {
        isBusy = false;
        form.ariaBusy = null;
      }
    };
    $("dialog-leave").onclick = () => dialog.close();
    dialog.onclose = () => resolve(isChanged);
    dialog.showModal();
  });
}
