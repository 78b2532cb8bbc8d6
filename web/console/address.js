// The page's address. Its query says what the page shows, so that a view can be sent to somebody,
// and Back works.

/**
 * The parameters of an address: which tasks are listed, which task is shown, and which of its
 * objects.
 */
const NAMES = ["status", "model", "since", "until", "task", "outcome"];

/** @returns {Record<string, string>} the parameters that the address has */
export function read() {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.map(name => [name, query.get(name)]).filter(([, value]) => value));
}

/** The address of a view with only these parameters. */
export function to(parameters) {
  const query = new URLSearchParams(NAMES.map(name => [name, parameters[name]]).filter(([, value]) => value));
  return query.size ? `/?${query}` : "/";
}

/** The parameters that say which tasks are listed. */
export function filters({ status, model, since, until }) {
  return { status, model, since, until };
}

let shown = location.search;
let onChange = () => {};

/** Calls `listener()` after each change of the address. */
export function follow(listener) {
  onChange = () => {
    shown = location.search;
    listener();
  };
  // A fragment changes the address but not the view.
  addEventListener("popstate", () => location.search !== shown && onChange());
  document.addEventListener("click", event => {
    const link = event.target.closest("a[href]");
    const isPlain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (!link || !isPlain || link.origin !== location.origin || link.pathname !== "/" || link.hash) return;
    event.preventDefault();
    go(link.pathname + link.search);
  });
}

/** Goes to an address of this page. */
export function go(address) {
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
  onChange();
}
