// The report as text: a table a subject, with the ratios that are to be watched.
const number = (value) => (value === null || value === undefined || Number.isNaN(value) ? "-" : Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(1));
const figure = (spread) => (spread ? `${number(spread.median)} (${number(spread.min)}..${number(spread.max)})` : "-");
const ratio = (a, b) => (a && b ? (a / b).toFixed(2) : "-");

function rows(head, body) {
  const lines = [head, ...body].map((row) => row.map(String));
  const widths = head.map((_, i) => Math.max(...lines.map((line) => line[i].length)));
  return lines.map((line) => line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  ").trimEnd()).join("\n");
}

const section = (title, note, text) => `\n${title}\n${note ? `${note}\n` : ""}\n${text}\n`;

function connects({ connect }) {
  const floor = connect.floor?.full_us.median;
  return section("CPU of a connect, in us", "median (least..greatest); the ratio is to the floor's full handshake, broker processes only",
    rows(["", "full", "ratio", "resumed", "ratio", "its Redis", "connects/s"], Object.entries(connect).map(([name, c]) => [
      name, figure(c.full_us), ratio(c.full_us.median, floor), figure(c.resumed_us), ratio(c.resumed_us?.median, floor), number(c.full_redis_us.median), number(c.per_s.median),
    ])));
}

function memories({ memory, sizes }) {
  return section("Bytes of an idle connection", `slope between ${sizes.few} and ${sizes.many} phones, after ${sizes.idleS} idle seconds; kernel: both ends of the socket`,
    rows(["", "user", "before idling", "kernel", "Redis", "still connected"], Object.entries(memory).map(([name, m]) => [name, number(m.user), number(m.user_before_idling), number(m.kernel), number(m.redis), number(m.still_there)])));
}

function sideLogins(title, note, runs) {
  return section(title, note, rows(["", "p50 us", "p99 us", "a second", "CPU us", "Redis' CPU us", "both", "failed"], Object.entries(runs).map(([name, r]) => [
    name, figure(r.p50_us), figure(r.p99_us), figure(r.per_s), number(r.cpu_us.median), number(r.redis_cpu_us.median), number(r.cpu_us.median + r.redis_cpu_us.median), number(r.failed.max),
  ])));
}

function storms(report) {
  const lines = Object.entries(report.cut).map(([name, c]) => [`links cut: ${name}`, figure(c.back99_s), figure(c.all_s)]);
  lines.push(["links cut while portals ask", number(report.cut_while_asked.back99_s), number(report.cut_while_asked.all_s)]);
  lines.push(["broker killed -9", number(report.killed.back99_s), number(report.killed.all_s)]);
  const { approved, asked, failed } = report.cut_while_asked.logins;
  return section("Seconds until the phones are back", `${report.sizes.many} phones, backoff with full jitter from 1 s; asked meanwhile: ${asked}, approved ${approved}, failed ${failed}`,
    rows(["", "99 %", "all"], lines));
}

function growths({ growth, growth_cut: cut, growth_killed: killed, sizes }) {
  const slope = (g, before) => (before ? (g.user_bytes - before.user_bytes) / (g.phones - before.phones) : null);
  let text = rows(["phones", "user bytes each", "of one more", "Redis MiB", "answered", "p50 us", "p99 us", "logins/s", "CPU us/login", "Redis' CPU us/login"], growth.map((g, i) => [
    g.phones, number(g.user_bytes / g.phones), number(slope(g, growth[i - 1])), number(g.redis_bytes / 2 ** 20), `${g.random.approved} of ${g.random.asked}`, number(g.random.p50_us), number(g.random.p99_us),
    number(g.most.per_s), number(g.most.cpu_us), number(g.most.redis_cpu_us),
  ]));
  if (cut) text += `\n\nlinks cut: 99 % back after ${number(cut.back99_s)} s, all after ${number(cut.all_s)} s; asked meanwhile ${cut.logins.asked}, approved ${cut.logins.approved}, failed ${cut.logins.failed} ${cut.logins.last_failure}`;
  if (killed) text += `\nbroker killed -9: 99 % back after ${number(killed.back99_s)} s, all after ${number(killed.all_s)} s`;
  return section("Growth", `${sizes.workers} workers; all of the largest fleet are enrolled in Redis throughout; 1,000 phones picked at random asked at 200/s, each signature verified; then 64 outstanding`, text);
}

/** The report, or as much of it as is there. */
export function table(report) {
  const { machine } = report;
  let text = `nanopush ${report.commit}, ${report.date}\n${machine.cpu}, ${machine.cores} cores, ${machine.memory_gib} GiB, Linux ${machine.kernel}\n`;
  text += `${Object.entries(report.versions).map(([name, version]) => `${name} ${version}`).join("; ")}\n`;
  text += "Load, servers and Redis share the cores: compare within this report only.\n";
  if (report.enrolment) text += `Enrolled through the API: ${report.enrolment.per_s} phones a second, ${number(report.enrolment.redis_bytes)} bytes of Redis each.\n`;
  if (report.connect) text += connects(report);
  if (report.memory) text += memories(report);
  if (report.random) text += `\nAfter idling ${report.random.approved} of ${report.random.asked} phones picked at random answered, ${report.random.verified} signatures verified.\n`;
  if (report.heartbeat_us) text += section("CPU of a heartbeat, in us", "", rows(["", "us"], Object.entries(report.heartbeat_us).map(([name, s]) => [name, figure(s)])));
  if (report.logins_200) text += sideLogins("A login, 200 a second", "portal and phone on one worker", report.logins_200);
  if (report.logins_2000) text += sideLogins("A login, 2,000 a second", "or as many as it takes", report.logins_2000);
  if (report.logins_most) text += sideLogins("A login, 64 outstanding", "", report.logins_most);
  if (report.killed) text += storms(report);
  if (report.growth?.length) text += growths(report);
  return text;
}
