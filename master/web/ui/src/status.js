// The state of the swarm as Throng tells it, for the banner and our own tabs. One
// poll serves all of them.

import { useSyncExternalStore } from "react";
import { locustStore } from "locust-ui";

const every = 2000;
const maxPoints = 2000;

let current = { status: null, history: [], unreachable: false };
const listeners = new Set();

const set = (next) => {
  current = next;
  listeners.forEach((listener) => listener());
};

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
    set({ status, history, unreachable: false });
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
