// What is known of a task. A list may lag (`info` does not), and responses may overtake each other.
// So the task itself shows which response is newer.

/** The statuses, in the order of a task's life. */
export const STATUSES = ["pending", "processing", "done", "failed", "canceled"];

/** Within an attempt a status only moves on. */
const RANK = { pending: 0, processing: 1, done: 2, failed: 2, canceled: 2 };

/** Whether the task has not ended, so that it changes by itself. */
export const isActive = task => RANK[task.status] < 2;

/**
 * How far a task's life has come, as a list to compare: its creation (an id is free again after its
 * task has expired), its attempt, and so on.
 */
function life({ created_at, attempt, status, progress, updated_at }) {
  return [created_at, attempt, RANK[status], progress.total - progress.remaining, updated_at];
}

/** Returns what is known of a task after another response about it. */
export function merged(known, given) {
  if (!known) return given;
  const [old, now] = [life(known), life(given)];
  const at = now.findIndex((value, index) => value !== old[index]);
  if (at >= 0 && now[at] < old[at]) return known;
  // A row of a list lacks some fields. The known ones stay, unless the row is about another attempt
  // or another task.
  return at === 0 || at === 1 ? given : { ...known, ...given };
}

/** Newest first, as the API lists them. */
export function byAge(a, b) {
  return compare(b.created_at, a.created_at) || compare(b.id, a.id);
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
