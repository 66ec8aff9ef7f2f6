import { Box, Chip, Paper, Table, TableBody, TableCell, TableContainer, TableHead, TableRow, Typography } from "@mui/material";
import { LineChart } from "locust-ui";
import { useSelector } from "react-redux";

export const number = (value, digits = 0) =>
  value === undefined || value === null ? "–" : Number(value).toLocaleString("en", { maximumFractionDigits: digits });

export const clock = (time) => new Date(time).toLocaleTimeString();

export const Brief = ({ children }) => <span style={{ whiteSpace: "nowrap" }}>{children}</span>;

export function Section({ title, children }) {
  return (
    <Box component="section" sx={{ mb: 4 }}>
      <Typography component="h2" sx={{ mb: 1 }} variant="h6">
        {title}
      </Typography>
      {children}
    </Box>
  );
}

export const None = ({ children }) => <Typography color="text.secondary">{children}</Typography>;

// Grid is a table. Columns are {title, value, figure}: what a row shows there,
// and whether that is a figure, which stands at the right.
export function Grid({ columns, rows, label }) {
  return (
    <TableContainer component={Paper}>
      <Table aria-label={label} size="small">
        <TableHead>
          <TableRow>
            {columns.map(({ title, figure }) => (
              <TableCell align={figure ? "right" : "left"} key={title} sx={{ whiteSpace: "nowrap" }}>
                {title}
              </TableCell>
            ))}
          </TableRow>
        </TableHead>
        <TableBody>
          {rows.map((row, i) => (
            <TableRow key={i}>
              {columns.map(({ title, value, figure }) => (
                <TableCell align={figure ? "right" : "left"} key={title} sx={figure ? { whiteSpace: "nowrap" } : {}}>
                  {value(row)}
                </TableCell>
              ))}
            </TableRow>
          ))}
        </TableBody>
      </Table>
    </TableContainer>
  );
}

const chipColor = { ok: "success", pass: "success", valid: "success", degraded: "warning", partial: "warning", inconclusive: "warning", fail: "error", invalid: "error" };

export const Verdict = ({ word, label }) => <Chip color={chipColor[word] ?? "default"} label={label ? `${label}: ${word}` : word} size="small" />;

// History is a chart of lines {name, key} over points with a time; a line has a gap
// where a point has no value.
export function History({ title, points, lines, colors }) {
  const isDarkMode = useSelector(({ theme }) => theme.isDarkMode);
  const charts = { time: points.map((p) => p.time) };
  for (const { key } of lines) charts[key] = points.map((p) => [p.time, p[key] ?? null]);
  return (
    <Box sx={{ mb: 2 }}>
      <LineChart charts={charts} colors={colors} isDarkMode={isDarkMode} key={lines.map((l) => l.key).join()} lines={lines} title={title} />
    </Box>
  );
}

export const palette = ["#00ca5a", "#0099ff", "#ff9f00", "#ff6d6d", "#9966cc", "#8e4585", "#5c9ead", "#b08d57"];
