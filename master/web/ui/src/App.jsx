import { Component } from "react";
import { Alert, Button, GlobalStyles } from "@mui/material";
import LocustUi, { tabConfig } from "locust-ui";

import AccountsTab from "./AccountsTab";
import Banner from "./Banner";
import DeliveryTab from "./DeliveryTab";

// Ours stand beside the statistics that they complete.
const tabs = [
  tabConfig.stats,
  tabConfig.charts,
  { key: "delivery", title: "Delivery", component: DeliveryTab },
  { key: "accounts", title: "Accounts", component: AccountsTab },
  tabConfig.failures,
  tabConfig.exceptions,
  tabConfig.ratios,
  tabConfig.reports,
  tabConfig.logs,
  tabConfig.workers,
];

// The package's bar is one line, whatever has to go in: with a long host or a wide font
// it is wider than the window. The drawer that narrow windows have is not within the bar.
const barThatWraps = {
  ".MuiAppBar-root .MuiToolbar-root > .MuiBox-root": { flexWrap: "wrap", justifyContent: "flex-end", gap: "4px 16px", paddingBlock: 4 },
};

// Boundary keeps one answer that the package did not expect from blanking the
// page.
class Boundary extends Component {
  state = { error: null };

  static getDerivedStateFromError(error) {
    return { error };
  }

  render() {
    if (!this.state.error) return this.props.children;
    return (
      <Alert action={<Button onClick={() => window.location.reload()}>Reload</Button>} severity="error" sx={{ m: 2 }}>
        The page met something that it cannot show: {String(this.state.error)}
      </Alert>
    );
  }
}

export default function App() {
  return (
    <Boundary>
      <GlobalStyles styles={barThatWraps} />
      <Banner />
      <LocustUi tabs={tabs} />
    </Boundary>
  );
}
