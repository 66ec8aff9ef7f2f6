import { Alert, AlertTitle } from "@mui/material";

import { forgetRefusal, useStatus } from "./status";

// notices are what has to be known before any figure is believed, the worst
// first.
function notices({ status, unreachable }) {
  if (unreachable) {
    return [{ severity: "error", title: "The master does not answer", lines: ["These figures are old. Trying again every 2 s."] }];
  }
  if (!status) return [];
  const found = [];
  if (status.trouble) found.push({ severity: "error", title: "The last run came to no outcome", lines: [status.trouble] });
  if (!status.run_id) return found;
  const ended = status.state === "stopped";
  const { trust, reasons } = status.generator;
  if (trust !== "ok") {
    found.push({
      severity: trust === "invalid" ? "error" : "warning",
      title: trust === "invalid" ? "The generator cannot be believed" : "The generator is at its limits",
      lines: reasons,
    });
  }
  if (status.validity.state !== "valid") {
    found.push({
      severity: status.validity.state === "invalid" ? "error" : "warning",
      title: status.validity.state === "invalid" ? "This run does not count" : "Parts of this run do not count",
      lines: status.validity.excluded.map((w) => w.reason),
    });
  }
  const crossed = status.thresholds.filter((t) => !t.ok && t.value !== undefined).map((t) => t.expr);
  const unmeasured = status.thresholds.filter((t) => !t.ok && t.value === undefined).map((t) => `${t.expr} was not measured`);
  if (crossed.length > 0) {
    found.push({ severity: "error", title: ended ? "Thresholds were crossed" : "Thresholds do not hold", lines: crossed });
  }
  if (ended && unmeasured.length > 0) {
    found.push({ severity: "warning", title: "Not everything was measured", lines: unmeasured });
  }
  if (ended && found.length === 0 && status.verdict && status.verdict !== "pass") {
    found.push({ severity: "error", title: `Verdict: ${status.verdict}`, lines: [] });
  }
  return found;
}

export default function Banner() {
  const state = useStatus();
  const all = notices(state);
  if (state.refusal) all.unshift({ severity: "error", title: "Not changed", lines: [state.refusal], onClose: forgetRefusal });
  return (
    <div data-testid="banner">
      {all.map(({ severity, title, lines, onClose }) => (
        <Alert key={title} onClose={onClose} severity={severity} square sx={{ py: 0, alignItems: "center", overflowWrap: "anywhere" }} variant="filled">
          <AlertTitle component="span" sx={{ display: "inline", fontSize: "inherit", mr: 1 }}>
            {lines.length > 0 ? `${title}:` : title}
          </AlertTitle>
          {lines.join("; ")}
        </Alert>
      ))}
    </div>
  );
}
