// The calls of the API under this page's origin.

const BASE = "/internal/deletion-tasks/";
/** The time limit of a call, in milliseconds. API Gateway gives up earlier. */
const TIMEOUT = 35_000;
const TOKEN = "token";
/**
 * The least difference between the server's clock and the browser's, in milliseconds, for which the
 * server's is used. A smaller one may be an error of measurement: the header has whole seconds, and
 * takes time to arrive.
 */
const MIN_DIFFERENCE = 5_000;

/** How far the server's clock is ahead of the browser's, in milliseconds. */
let ahead = 0;

/**
 * The server's time, as far as it is known. A browser's clock may be wrong, and the times of tasks
 * are the server's.
 */
export const serverNow = () => Date.now() + ahead;

/** A call that did not succeed. `status` is 0 if no response came. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} detail what is wrong, as text for a person
   * @param {number | undefined} retryAfter milliseconds to wait, if the server said so
   */
  constructor(status, detail, retryAfter) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/**
 * Makes a call. Parameters without a value are left out.
 *
 * @returns {Promise<{body: any, retryAfter: number | undefined}>} `retryAfter` is in milliseconds
 * @throws {ApiError} or, if `signal` is aborted, its reason
 */
export async function call(method, name, parameters, signal) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== undefined && value !== ""));
  const headers = { accept: "application/json" };
  const token = localStorage.getItem(TOKEN);
  if (token) headers.authorization = `Bearer ${token}`;
  let response;
  let body;
  try {
    const until = AbortSignal.any([AbortSignal.timeout(TIMEOUT), ...(signal ? [signal] : [])]);
    response = await fetch(`${BASE}${name}?${query}`, { method, headers, cache: "no-store", signal: until });
    body = await response.json().catch(error => {
      if (error instanceof SyntaxError) return undefined;
      throw error;
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw new ApiError(0, "The server cannot be reached");
  }
  const difference = Date.parse(response.headers.get("date") ?? "") - Date.now();
  ahead = Math.abs(difference) >= MIN_DIFFERENCE ? difference : 0;
  const seconds = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
  const retryAfter = seconds >= 0 ? seconds * 1000 : undefined;
  if (response.ok && body) return { body, retryAfter };
  throw new ApiError(response.status, described(body) ?? `The server responded with status ${response.status}, and not as the API does`, retryAfter);
}

/**
 * A problem's text, with its validation errors. Like the API's own texts, it has no full stop at
 * its end.
 */
function described(problem) {
  if (typeof problem?.detail !== "string") return undefined;
  const errors = (problem.errors ?? []).map(error => `${error.parameter ?? error.pointer}: ${error.detail}`);
  return [problem.detail, ...errors].map(text => text.replace(/\.$/, "")).join(". ");
}

/**
 * Keeps the token of an address that ends with `#token=…`, and removes it from the address. Returns
 * whether there was one.
 */
export function keepToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return false;
  localStorage.setItem(TOKEN, token);
  history.replaceState(history.state, "", location.pathname + location.search);
  return true;
}
