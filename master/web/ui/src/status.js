// The state of the swarm as Throng tells it, for the banner and our own tabs. One
// poll serves all of them.

import { useSyncExternalStore } from "react";
import { locustStore } from "locust-ui";

import { onRefusal } from "./adapt";

const every = 2000;
const maxPoints = 2000;

let current = { status: null, history: [], unreachable: false, refusal: null };
const listeners = new Set();

const set = (next) => {
  current = next;
  listeners.forEach((listener) => listener());
};

const goesOn = () => ["spawning", "running"].includes(locustStore.getState().swarm.state);
const { users } = locustStore.getState().swarm;

onRefusal((path, refusal) => {
  if (path === "/user") locustStore.dispatch({ type: "swarm/setSwarm", payload: { users } }); // the package has changed them
  else if (refusal && !goesOn()) return; // the form that starts a run stays, and says so itself
  set({ ...current, refusal });
});

export const forgetRefusal = () => set({ ...current, refusal: null });

// follow brings the package's page to the state that the server is in: by itself
// it asks only while it believes that a run goes on, so it would miss one that
// another browser, or a script, has started.
const follow = (status, before) => {
  const { swarm } = locustStore.getState();
  const change = {};
  if (status.state !== swarm.state && (!before || status.state === before.state)) {
    change.state = status.state; // told twice: not a form that is on its way
  }
  if (JSON.stringify(status.extra_options) !== JSON.stringify(before?.extra_options ?? null)) {
    change.extraOptions = Object.fromEntries(
      Object.entries(status.extra_options).map(([name, option]) => [
        name.replace(/_([a-z0-9])/g, (_, c) => c.toUpperCase()),
        { defaultValue: option.default_value, isSecret: false, isRequired: false, helpText: option.help_text, isMultiple: false, choices: null },
      ]),
    );
  }
  // The package knows of a shape only where it was chosen, and still when the form
  // is opened anew, with the first one.
  const choice = document.querySelector("form select[name=shapeClass]");
  const fixed = choice ? choice.selectedIndex > 0 : status.load_is_fixed;
  if (fixed !== swarm.hideCommonOptions) change.hideCommonOptions = fixed;
  if (Object.keys(change).length > 0) locustStore.dispatch({ type: "swarm/setSwarm", payload: change });
};

const poll = async () => {
  try {
    const last = current.history.at(-1)?.time ?? "";
    const response = await fetch(`throng/status?after=${encodeURIComponent(last)}`);
    if (!response.ok) throw new Error(`status ${response.status}`);
    const status = await response.json();
    const sameRun = current.status?.run_id === status.run_id;
    let history = sameRun ? [...current.history, ...status.history] : status.history;
    if (history.length > maxPoints) history = history.filter((_, i) => i % 2 === 0);
    follow(status, current.status);
    set({ ...current, status, history, unreachable: false });
  } catch {
    set({ ...current, unreachable: true });
  }
};

let timer = null;
const subscribe = (listener) => {
  listeners.add(listener);
  if (timer === null) {
    timer = setInterval(poll, every);
    poll();
  }
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = null;
    }
  };
};

export const useStatus = () => useSyncExternalStore(subscribe, () => current);
