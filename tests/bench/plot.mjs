// The report as a picture: a panel a subject, bars side by side, and lines for what grows with the number of phones.
const [WIDTH, HEIGHT, GAP, COLUMNS] = [360, 220, 30, 2];
const COLOURS = { nanopush: "#1b6ca8", floor: "#888888", mosquitto: "#b3541e", nchan: "#5b8c2a" };
const LINES = ["#1b6ca8", "#b3541e", "#5b8c2a"];

const escape = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const short = (value) => (value >= 10_000 ? `${Math.round(value / 1000)}k` : value >= 100 ? Math.round(value) : value.toFixed(1));
const text = (x, y, words, more = "") => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${escape(words)}</text>`;

/** Bars by server name. */
function bars(title, values) {
  const entries = Object.entries(values).filter(([, value]) => Number.isFinite(value));
  const most = Math.max(...entries.map(([, value]) => value), 1e-9);
  const step = (HEIGHT - 40) / entries.length;
  return text(0, 12, title, 'font-weight="bold"') + entries.map(([name, value], i) => {
    const [y, length] = [28 + i * step, Math.max(1, value / most * (WIDTH - 160))];
    return text(78, y + step / 2 + 4, name, 'text-anchor="end"')
      + `<rect x="86" y="${y.toFixed(1)}" width="${length.toFixed(1)}" height="${(step * 0.7).toFixed(1)}" fill="${COLOURS[name] ?? "#333333"}"/>`
      + text(92 + length, y + step / 2 + 2, short(value));
  }).join("");
}

/** Lines over the number of phones, on a logarithmic axis; each line from zero to its own greatest value. */
function lines(title, rows, figures) {
  const [left, right, top, bottom] = [10, WIDTH - 10, 46, HEIGHT - 24];
  const [first, last] = [Math.log(rows[0].phones), Math.log(rows.at(-1).phones)];
  const x = (phones) => left + (last > first ? (Math.log(phones) - first) / (last - first) : 0.5) * (right - left - 40);
  const drawn = Object.entries(figures).map(([name, of], i) => {
    const most = Math.max(...rows.map(of), 1e-9) * 1.15;
    const y = (row) => bottom - of(row) / most * (bottom - top);
    return text(i * 115, 30, name, `fill="${LINES[i]}"`)
      + `<polyline fill="none" stroke="${LINES[i]}" stroke-width="2" points="${rows.map((row) => `${x(row.phones).toFixed(1)},${y(row).toFixed(1)}`).join(" ")}"/>`
      + rows.map((row) => text(x(row.phones), y(row) - 5, short(of(row)), `fill="${LINES[i]}" font-size="10"`)).join("");
  });
  return text(0, 12, title, 'font-weight="bold"')
    + `<line x1="${left}" y1="${bottom}" x2="${right}" y2="${bottom}" stroke="#333333"/>`
    + rows.map((row) => text(x(row.phones), bottom + 14, short(row.phones), 'font-size="10"')).join("")
    + drawn.join("");
}

const medians = (runs, of) => Object.fromEntries(Object.entries(runs).map(([name, run]) => [name, of(run)]));

/** An SVG document. */
export function plot(report) {
  const panels = [];
  if (report.connect) panels.push(bars("CPU of a full connect, us", medians(report.connect, (c) => c.full_us.median)));
  if (report.memory) panels.push(bars("User memory of an idle connection, bytes", medians(report.memory, (m) => m.user)));
  if (report.logins_200) panels.push(bars("Login at 200/s, p50, us", medians(report.logins_200, (r) => r.p50_us.median)));
  if (report.logins_2000) panels.push(bars("CPU of a login with its Redis, us", medians(report.logins_2000, (r) => r.cpu_us.median + r.redis_cpu_us.median)));
  if (report.logins_most) panels.push(bars("Logins a second, 64 outstanding", medians(report.logins_most, (r) => r.per_s.median)));
  if (report.cut) panels.push(bars("Links cut: seconds until 99 % are back", medians(report.cut, (c) => c.back99_s.median)));
  if (report.growth?.length) {
    panels.push(lines("Login by number of phones, us", report.growth, { p50: (g) => g.random.p50_us, p99: (g) => g.random.p99_us, CPU: (g) => g.most.cpu_us + g.most.redis_cpu_us }));
    panels.push(lines("Memory by number of phones, MiB", report.growth, { broker: (g) => g.user_bytes / 2 ** 20, Redis: (g) => g.redis_bytes / 2 ** 20 }));
  }
  const height = Math.ceil(panels.length / COLUMNS) * (HEIGHT + GAP) + GAP + 20;
  const placed = panels.map((panel, i) => `<g transform="translate(${GAP + (i % COLUMNS) * (WIDTH + GAP)} ${GAP + 20 + Math.floor(i / COLUMNS) * (HEIGHT + GAP)})">${panel}</g>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${COLUMNS * (WIDTH + GAP) + GAP}" height="${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
${text(GAP, 24, `nanopush ${report.commit}, ${report.date.slice(0, 10)}: ${report.machine.cores} cores`, 'font-size="14"')}
${placed.join("\n")}
</svg>
`;
}
