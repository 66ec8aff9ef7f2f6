// What stands between the package and the server. It must be loaded before the
// package, which reads window.templateArgs while it loads.

const { base_path: basePath = "" } = window.templateArgs ?? {};
const send = window.fetch.bind(window);

// pathOf is where a request goes, without the base path.
const pathOf = (request) => new URL(request.url ?? request, window.location.href).pathname.slice(basePath.length);

const withBody = (response, status, body) =>
  new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });

let tell = () => {};

// onRefusal has a function hear which path has refused a form and why; null is that
// one was accepted. The package closes the form of a running load, and that of a user
// class, without a look at the answer.
export const onRefusal = (listener) => {
  tell = listener;
};

window.fetch = async (request, options) => {
  const response = await send(request, options);
  if (response.status === 401) {
    window.location.assign(`${basePath}/login`); // the session has ended
    return response;
  }
  switch (pathOf(request)) {
    case "/stats/requests": {
      // The package draws total_rps as the rate, from when that was the current
      // one. Now it is the average over the run.
      if (!response.ok) return response;
      const stats = await response.json();
      return withBody(response, 200, {
        ...stats,
        total_rps: stats.current_rps,
        total_fail_per_sec: stats.current_fail_per_sec,
      });
    }
    case "/swarm": {
      // The package shows what was wrong only when the status is 200.
      const answer = await response.json().catch(() => ({ message: `The master answers ${response.status}.` }));
      tell("/swarm", answer.success ? null : answer.message);
      return withBody(response, 200, { success: false, ...answer });
    }
    case "/user": {
      if (response.ok) return response;
      const answer = await response.clone().json().catch(() => ({}));
      tell("/user", answer.message ?? `The master answers ${response.status}.`);
      return response;
    }
    default:
      return response;
  }
};

// The logo of the package leads to "/", which is not ours under a base path.
if (basePath) {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href="/"]');
    if (link) {
      event.preventDefault();
      window.location.assign(`${basePath}/`);
    }
  });
}
