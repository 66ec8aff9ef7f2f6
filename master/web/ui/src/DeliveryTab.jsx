import { Stack, Typography } from "@mui/material";

import { Brief, Grid, History, None, Section, Verdict, clock, number, palette } from "./parts";
import { useStatus } from "./status";

const figure = (title, key, digits) => ({ title, figure: true, value: (row) => number(row[key], digits) });

// thresholdValue is a measured value in the unit of its metric.
function thresholdValue({ expr, value }) {
  if (value === undefined || value === null) return "not measured";
  const metric = expr.split(" ")[0];
  if (/\.(p\d+|mean|max)$/.test(metric)) return `${number(value * 1000, 1)} ms`;
  if (metric.endsWith("failures")) return `${number(value * 100, 2)} %`;
  return number(value, 3);
}

export default function DeliveryTab() {
  const { status, history } = useStatus();
  if (!status) return <None>Asking the master…</None>;
  if (!status.run_id) return <None>Delivery is measured once a run begins.</None>;
  const routes = status.delivery.map((r) => r.route);
  const points = history.map((p) => {
    const flat = { time: p.time, load: p.delivered_p95_ms };
    for (const route of routes) {
      flat[`p50.${route}`] = p.routes[route]?.p50_ms;
      flat[`p95.${route}`] = p.routes[route]?.p95_ms;
      flat[`p99.${route}`] = p.routes[route]?.p99_ms;
      flat[`late.${route}`] = (p.routes[route]?.late ?? 0) + (p.routes[route]?.lost ?? 0);
    }
    return flat;
  });
  return (
    <Stack data-testid="delivery">
      <Stack direction="row" sx={{ mb: 2, gap: 1, flexWrap: "wrap", alignItems: "center" }}>
        {status.verdict && <Verdict label={status.state === "stopped" ? "verdict" : "verdict so far"} word={status.verdict} />}
        <Verdict label="validity" word={status.validity.state} />
        <Verdict label="generator" word={status.generator.trust} />
        {status.generator.reasons.length > 0 && <Typography variant="body2">{status.generator.reasons.join("; ")}</Typography>}
      </Stack>
      <Section title="Thresholds">
        {status.thresholds.length === 0 ? (
          <None>The run's file names none.</None>
        ) : (
          <Grid
            columns={[
              { title: "Threshold", value: (t) => t.expr },
              { title: "Value", figure: true, value: thresholdValue },
              { title: "", value: (t) => <Verdict word={t.ok ? "pass" : "fail"} /> },
            ]}
            label="thresholds"
            rows={status.thresholds}
          />
        )}
      </Section>
      <Section title="What the probe measures">
        {routes.length === 0 ? (
          <None>No probe has reported yet.</None>
        ) : (
          <Grid
            columns={[
              { title: "Route", value: (r) => r.route },
              figure("Sent", "sent"),
              figure("On time", "on_time"),
              figure("Late", "late"),
              figure("Lost", "lost"),
              figure("Open", "open"),
              figure("Duplicated", "duplicated"),
              figure("Reordered", "reordered"),
              figure("Unexpected", "unexpected"),
              figure("p50 (ms)", "p50_ms", 1),
              figure("p95 (ms)", "p95_ms", 1),
              figure("p99 (ms)", "p99_ms", 1),
              figure("Max (ms)", "max_ms", 1),
            ]}
            label="probe"
            rows={status.delivery}
          />
        )}
      </Section>
      <Section title="What the load itself received">
        {status.load.length === 0 ? (
          <None>Nothing yet.</None>
        ) : (
          <Grid
            columns={[
              { title: "Channel", value: (o) => o.name },
              figure("Messages", "count"),
              figure("p50 (ms)", "p50_ms", 1),
              figure("p95 (ms)", "p95_ms", 1),
              figure("p99 (ms)", "p99_ms", 1),
              figure("Max (ms)", "max_ms", 1),
            ]}
            label="load"
            rows={status.load}
          />
        )}
      </Section>
      {routes.length > 0 && (
        <Section title="Over time">
          {points.length < 2 ? (
            <None>The chart has a point every 5 s while a run goes on.</None>
          ) : (
            <>
              {routes.map((r) => (
                <History
                  colors={palette}
                  key={r}
                  lines={[...["p50", "p95", "p99"].map((p) => ({ name: p, key: `${p}.${r}` })), { name: "load p95", key: "load" }]}
                  points={points}
                  title={`Route ${r}, every 5 s (ms)`}
                />
              ))}
              <History
                colors={palette}
                lines={routes.map((r) => ({ name: r, key: `late.${r}` }))}
                points={points}
                title="Messages Late or Lost so far"
              />
            </>
          )}
        </Section>
      )}
      <Section title="Timeline">
        {status.events.length === 0 ? (
          <None>Nothing has happened to the run's own parts.</None>
        ) : (
          <Grid
            columns={[
              { title: "From", value: (e) => <Brief>{clock(e.from)}</Brief> },
              { title: "To", value: (e) => (new Date(e.to).getFullYear() > 1 ? <Brief>{clock(e.to)}</Brief> : "still") },
              { title: "What", value: (e) => <Brief>{e.kind.replaceAll("_", " ")}</Brief> },
              { title: "Detail", value: (e) => e.detail },
            ]}
            label="timeline"
            rows={status.events}
          />
        )}
      </Section>
    </Stack>
  );
}
