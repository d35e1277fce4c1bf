// What is in deploy/, each file by the strictest program that reads it, and held against what it speaks of: metrics,
// libraries, options. No engine that runs images is needed; Grafana and an image's build are not tried here.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { Broker, NANOPUSHD, runProgram } from "./harness.mjs";
import { tool } from "./tools.mjs";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const DEPLOY = path.join(ROOT, "deploy");
const file = (...parts) => path.join(DEPLOY, ...parts);
const text = (...parts) => readFileSync(file(...parts), "utf8");

/** What a program says; it must be content. */
function passes(name, args, cwd = ROOT) {
  const { program, env } = path.isAbsolute(name) ? { program: name, env: process.env } : tool(name);
  const { status, stdout, stderr } = spawnSync(program, args, { cwd, env, encoding: "utf8" });
  assert.equal(status, 0, `${name} ${args.join(" ")}:\n${stdout}${stderr}`);
  return stdout + stderr;
}

describe("what a program checks", () => {
  test("HAProxy: its configuration, without a warning", () => {
    assert.doesNotMatch(passes("haproxy", ["-c", "-f", file("haproxy", "haproxy.cfg")]), /WARNING|ALERT/);
  });

  test("Prometheus: configuration, alerts, and what raises each of them", () => {
    const folder = file("prometheus");
    passes("promtool", ["check", "config", "prometheus.yml"], folder);
    passes("promtool", ["check", "rules", "alerts.yml"], folder);
    passes("promtool", ["test", "rules", "alerts.test.yml"], folder);
    const raised = new Set([...text("prometheus", "alerts.test.yml").matchAll(/alertname: (\w+)\n\s+exp_alerts:\n/g)].map(([, name]) => name));
    const alerts = [...text("prometheus", "alerts.yml").matchAll(/- alert: (\w+)/g)].map(([, name]) => name);
    assert.deepEqual(alerts.filter((name) => !raised.has(name)), [], "each alert is raised by a test");
  });

  test("docker-compose: the services, and the files that they mount", () => {
    passes("docker-compose", ["config", "-q"]);
    const mounted = [...readFileSync(path.join(ROOT, "docker-compose.yml"), "utf8").matchAll(/\.\/deploy\/[\w./-]+/g)].map(([name]) => name);
    assert.ok(mounted.length >= 4);
    for (const name of mounted) assert.ok(existsSync(path.join(ROOT, name)), name);
  });

  test("systemd: the unit, and how much of the machine it can reach", (t) => {
    const room = mkdtempSync(path.join(tmpdir(), "nanopush-unit-"));
    t.after(() => rmSync(room, { recursive: true }));
    const unit = path.join(room, "nanopush.service");
    const program = path.join(room, "nanopushd"); // a path without a space, which the unit would have to quote
    symlinkSync(NANOPUSHD, program);
    writeFileSync(unit, text("systemd", "nanopush.service").replace("/usr/sbin/nanopushd", program));
    assert.equal(passes("systemd-analyze", ["verify", unit]), "");
    for (const name of ["device", "portal", "stats"]) {
      const socket = path.join(room, `nanopush-${name}.socket`);
      const content = text("systemd", `nanopush-${name}.socket`);
      assert.match(content, new RegExp(`FileDescriptorName=${name}\\nService=nanopush.service`));
      writeFileSync(socket, content);
      assert.equal(passes("systemd-analyze", ["verify", unit, socket]), "");
    }
    passes("systemd-analyze", ["security", "--offline=yes", "--threshold=15", unit]);
  });

  test("nanopushd: the containers' configuration", () => {
    const { status, stderr } = runProgram("--config", file("docker", "nanopushd.conf"), "--check");
    assert.equal(status, 0, stderr);
  });
});

describe("what is held against the program", () => {
  const broker = new Broker();
  let names; // of metrics, to their types
  before(async () => {
    await broker.start();
    const { body } = await broker.stats("/metrics");
    names = new Map([...body.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]));
    assert.ok(names.size > 20);
  });
  after(() => broker.stop());

  const expressions = () => [
    ...JSON.parse(text("grafana", "dashboards", "nanopush.json")).panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
    ...[...text("prometheus", "alerts.yml").matchAll(/expr: (>\n(?: {10,}.*\n)+|.*\n)/g)].map(([, expr]) => expr),
  ];

  test("dashboard and alerts: every metric is there; what counts is shown as a rate, what is a state is not", () => {
    const used = expressions().flatMap((expr) => [...expr.matchAll(/(\w+\()?(nanopush_\w+)/g)].map(([, call, name]) => ({ call, name, expr })));
    assert.ok(used.length > 40);
    for (const { call, name, expr } of used) {
      assert.ok(names.has(name), `${name} in ${expr}`);
      assert.equal(["rate(", "increase("].includes(call), names.get(name) === "counter", `${name} in ${expr}`);
    }
  });

  test("dashboard and alerts: every label's value is there", async () => {
    const { body } = await broker.stats("/metrics");
    const selectors = expressions().flatMap((expr) => [...expr.matchAll(/(nanopush_\w+)\{(\w+)="(\w+)"\}/g)]);
    assert.ok(selectors.length >= 4);
    for (const [selector] of selectors) assert.ok(body.includes(`${selector} `), selector);
  });

  test("dashboard: no two panels lie on one another, and each has its data from the provisioned source", () => {
    const { panels } = JSON.parse(text("grafana", "dashboards", "nanopush.json"));
    const source = /uid: (\w+)/.exec(text("grafana", "provisioning", "datasources", "prometheus.yml"))[1];
    const taken = new Set();
    for (const { title, datasource, gridPos: { x, y, w, h } } of panels) {
      assert.equal(datasource.uid, source, title);
      assert.ok(x + w <= 24, title);
      for (let column = x; column < x + w; column++)
        for (let row = y; row < y + h; row++) {
          assert.ok(!taken.has(`${column} ${row}`), title);
          taken.add(`${column} ${row}`);
        }
    }
  });

  test("the image has every library that the programs want", () => {
    const [, listed] = /install -y -q --no-install-recommends \\\n([\s\S]*?) \\\n && rm/.exec(text("docker", "Dockerfile"));
    const packages = new Set(listed.split(/[\s\\]+/).filter(Boolean));
    const ours = new Set(["libc6"]); // of the base image
    const programs = [NANOPUSHD, path.join(path.dirname(NANOPUSHD), "nanopush")];
    const { stdout: headers } = spawnSync("objdump", ["-p", ...programs], { encoding: "utf8" });
    const wanted = new Set([...headers.matchAll(/NEEDED\s+(\S+)/g)].map(([, library]) => library).filter((name) => !/^lib(a|ub)san/.test(name)));
    assert.ok(wanted.size > 8);
    const { stdout: files } = spawnSync("dpkg", ["-S", ...[...wanted].map((library) => `*/${library}`)], { encoding: "utf8" });
    const owners = [...files.matchAll(/^([\w.+-]+)(?::\w+)?: (\S+)$/gm)];
    for (const library of wanted)
      assert.ok(owners.some(([, owner, name]) => path.basename(name) === library && (packages.has(owner) || ours.has(owner))), library);
  });

  test("make install: the programs below DESTDIR and prefix, where the image looks for them", (t) => {
    const room = mkdtempSync(path.join(tmpdir(), "nanopush-install-"));
    t.after(() => rmSync(room, { recursive: true }));
    const build = path.relative(ROOT, path.dirname(NANOPUSHD)); // make takes no path with a space
    passes("make", ["-s", `BUILD=${build}`, `DESTDIR=${room}`, "prefix=/usr", "-o", `${build}/nanopushd`, "-o", `${build}/nanopush`, "install"]);
    const { stdout } = spawnSync(path.join(room, "usr/sbin/nanopushd"), ["--version"], { encoding: "utf8" });
    assert.match(stdout, /^nanopushd \d/);
    assert.ok(existsSync(path.join(room, "usr/bin/nanopush")));
    for (const page of ["man1/nanopush.1", "man5/nanopushd.conf.5", "man8/nanopushd.8"]) {
      const name = path.join(room, "usr/share/man", page);
      assert.equal(passes("man", ["--warnings", "-E", "UTF-8", "-l", "-Tutf8", name]).match(/warning.*/)?.[0], undefined, page);
    }
    const [options, commands] = ["man5/nanopushd.conf.5", "man1/nanopush.1"].map((page) => readFileSync(path.join(room, "usr/share/man", page), "utf8"));
    const rows = (name, pattern) => [...readFileSync(path.join(ROOT, name), "utf8").matchAll(pattern)].map(([, each]) => each);
    for (const option of rows("broker/core/option.def", /^OPTION\(\w+, (\w+),/gm)) assert.ok(options.includes(`\n.B ${option} = `), option);
    for (const command of rows("clients/cli/command.def", /^COMMAND\(\w+, "([^"]+)"/gm)) assert.match(commands, new RegExp(`\n\\.SS nanopush ${command}( |\n)`));
    assert.match(text("docker", "Dockerfile"), /prefix=\/usr\n[\s\S]*ENTRYPOINT \["\/usr\/sbin\/nanopushd"\]/);
  });

  test("make deb: a package with programs, units, pages and one configuration file, which depends on what they want", () => {
    const build = path.relative(ROOT, path.dirname(NANOPUSHD));
    const name = path.join(ROOT, passes(file("debian", "build.sh"), [build, "0.0.0+test"]).trim().split("\n").at(-1));
    const content = passes("dpkg-deb", ["-c", name]);
    const fields = passes("dpkg-deb", ["-f", name]);
    rmSync(name);
    for (const each of ["usr/sbin/nanopushd", "usr/bin/nanopush", "etc/nanopush/nanopushd.conf", "lib/systemd/system/nanopush.service",
      "lib/systemd/system/nanopush-device.socket", "usr/share/man/man8/nanopushd.8.gz", "usr/share/bash-completion/completions/nanopush"])
      assert.ok(content.split("\n").some((line) => line.includes(` root/root `) && line.endsWith(` ./${each}`)), each);
    assert.match(fields, /^Version: 0\.0\.0\+test$/m);
    assert.match(fields, /^Depends: .*libssl3 .*, redis-tools$/m);
    const { status, stderr } = runProgram("--config", file("debian", "nanopushd.conf"), "--check");
    assert.equal(status, 0, stderr);
  });

  test("sysctl: each setting has its reason, and exists in this kernel or may be absent", () => {
    const lines = text("sysctl.d", "90-nanopush.conf").split("\n");
    let reason = false;
    for (const line of lines) {
      if (line.startsWith("#")) reason = true;
      else if (line === "") reason = false;
      else {
        const [, optional, key] = /^(-?)([\w.-]+) = [\d ]+$/.exec(line) ?? assert.fail(line);
        assert.ok(reason, `${key} has a reason`);
        const known = existsSync(`/proc/sys/${key.replaceAll(".", "/")}`);
        const folder = existsSync(path.dirname(`/proc/sys/${key.replaceAll(".", "/")}`));
        assert.ok(known || optional || !folder || key.startsWith("net."), `${key} is a setting`); // a namespace of its own lacks some of net
      }
    }
  });

  test("nothing in it names a file of deploy/ that is not there", () => {
    for (const name of readdirSync(DEPLOY, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())) {
      const content = readFileSync(path.join(name.path ?? name.parentPath, name.name), "utf8");
      for (const [, mentioned] of content.matchAll(/\b(deploy\/[\w/.-]+\w)/g))
        if (!mentioned.includes("XX")) assert.ok(existsSync(path.join(ROOT, mentioned)), `${mentioned} in ${name.name}`);
    }
  });
});
