import { Stack } from "@mui/material";

import { Grid, History, None, Section, number, palette } from "./parts";
import { useStatus } from "./status";

// leaseRate is how many accounts of a role were leased a second lately.
function leaseRate(history, role) {
  const newest = history.at(-1);
  const before = history.at(-3) ?? history.at(0);
  const seconds = newest && before ? (new Date(newest.time) - new Date(before.time)) / 1000 : 0;
  if (seconds <= 0) return null;
  return Math.max(0, (newest.accounts[role]?.leases ?? 0) - (before.accounts[role]?.leases ?? 0)) / seconds;
}

// longest is below what the longest wait was, in words.
const longest = (account) => {
  const waits = account.waits ?? [];
  return waits.length > 0 ? `< ${number(waits.at(-1).below_ms)} ms` : "–";
};

export default function AccountsTab() {
  const { status, history } = useStatus();
  if (!status) return <None>Asking the master…</None>;
  const accounts = status.accounts;
  if (accounts.length === 0) return <None>No accounts are known yet: they show once a run begins.</None>;
  const roles = accounts.map((a) => a.role);
  const reasons = accounts.flatMap((a) => (a.quarantine_reasons ?? []).map((r) => ({ role: a.role, ...r })));
  const short = accounts.filter((a) => a.short);
  const points = history.map((p) => {
    const flat = { time: p.time };
    for (const role of roles) {
      flat[`leased.${role}`] = p.accounts[role]?.leased ?? 0;
      flat[`available.${role}`] = p.accounts[role]?.available ?? 0;
    }
    return flat;
  });
  const figure = (title, key) => ({ title, figure: true, value: (a) => number(a[key]) });
  return (
    <Stack data-testid="accounts">
      <Section title={`Pool ${accounts[0].pool}`}>
        <Grid
          columns={[
            { title: "Role", value: (a) => a.role },
            figure("Known", "known"),
            figure("Available", "available"),
            figure("Leased", "leased"),
            figure("Resting", "resting"),
            figure("Quarantined", "quarantined"),
            figure("Retired", "retired"),
          ]}
          label="accounts by role"
          rows={accounts}
        />
      </Section>
      <Section title="Leases">
        <Grid
          columns={[
            { title: "Role", value: (a) => a.role },
            { title: "Leases/s", figure: true, value: (a) => number(leaseRate(history, a.role), 1) },
            figure("Leases", "leases"),
            figure("Releases", "releases"),
            figure("Reclaimed", "reclaimed"),
            figure("Peak leased", "peak_leased"),
            figure("Waiting now", "waiting"),
            { title: "Wait p99 (ms)", figure: true, value: (a) => number(a.wait_p99_ms, 1) },
            { title: "Longest wait", figure: true, value: longest },
            figure("Created", "created"),
            figure("Not created", "failed"),
          ]}
          label="leases by role"
          rows={accounts}
        />
      </Section>
      <Section title="Over time">
        {points.length < 2 ? (
          <None>The chart has a point every 5 s while a run goes on.</None>
        ) : (
          <>
            <History colors={palette} lines={roles.map((r) => ({ name: r, key: `leased.${r}` }))} points={points} title="Leased Accounts" />
            <History colors={palette} lines={roles.map((r) => ({ name: r, key: `available.${r}` }))} points={points} title="Available Accounts" />
          </>
        )}
      </Section>
      <Section title="Quarantined, with the target's reason">
        {reasons.length === 0 ? (
          <None>None.</None>
        ) : (
          <Grid
            columns={[
              { title: "Role", value: (r) => r.role },
              { title: "Accounts", figure: true, value: (r) => number(r.accounts) },
              { title: "Reason", value: (r) => r.reason },
            ]}
            label="quarantine reasons"
            rows={reasons}
          />
        )}
      </Section>
      {short.length > 0 && (
        <Section title="When a role was shortest">
          <Grid
            columns={[
              { title: "Role", value: (a) => a.role },
              { title: "Waiting", figure: true, value: (a) => number(a.short.waiting) },
              { title: "Held by", value: (a) => (a.short.held_by ?? []).map((h) => `${h.name}: ${number(h.accounts)}`).join(", ") },
            ]}
            label="shortage"
            rows={short}
          />
        </Section>
      )}
      <Section title="Holders">
        {status.holders.length === 0 ? (
          <None>No worker and no probe is connected.</None>
        ) : (
          <Grid
            columns={[
              { title: "Process", value: (h) => h.name },
              { title: "Kind", value: (h) => h.kind },
              { title: "State", value: (h) => h.state },
              { title: "Users", figure: true, value: (h) => (h.kind === "worker" ? number(h.users) : "–") },
              { title: "Accounts held", figure: true, value: (h) => number(h.accounts) },
            ]}
            label="holders"
            rows={status.holders}
          />
        )}
      </Section>
    </Stack>
  );
}
