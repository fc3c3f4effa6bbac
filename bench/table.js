// Text tables.

/** Rows under a header; the first column is aligned left, the others right. */
export function table(header, rows) {
  const cells = [header, ...rows.map((row) => row.map(String))];
  const widths = header.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? "").length)));
  const lines = cells.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join("   ")
      .trimEnd(),
  );
  lines.splice(1, 0, widths.map((width) => "-".repeat(width)).join("   "));
  return lines.join("\n");
}

/** A number with three significant digits, or "-". */
export function number(value) {
  if (value === undefined || value === null || !Number.isFinite(value)) return "-";
  if (value === 0 || Math.abs(value) >= 100) return value.toFixed(0);
  return value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)))));
}

export const percent = (share) => `${(share * 100).toFixed(1)} %`;

/** What bench/goals.js found, as a table. */
export function printGoals(goals) {
  const value = (v) => (typeof v === "number" ? number(v) : (v ?? "-"));
  const verdict = ({ pass, remark }) =>
    `${pass === undefined ? "not measured" : pass ? "pass" : "FAIL"}${remark ? ` (${remark})` : ""}`;
  const rows = goals.map((goal) => [goal.text, goal.goal, value(goal.measured), verdict(goal)]);
  return table(["Goal", "wanted", "measured", ""], rows);
}
