// What the kernel says of processes and of itself: CPU time, memory, sockets.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import net from "node:net";

const read = (file) => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // It ended meanwhile.
  }
};

/** CPU time of the processes, all threads, in microseconds. */
export function cpuUs(pids) {
  let ns = 0;
  for (const pid of pids)
    for (const task of existsSync(`/proc/${pid}/task`) ? readdirSync(`/proc/${pid}/task`) : [])
      ns += Number(read(`/proc/${pid}/task/${task}/schedstat`).split(" ")[0]);
  return ns / 1000;
}

/** Proportional set size of the processes together, in bytes. */
export const pssBytes = (pids) =>
  pids.reduce((sum, pid) => sum + 1024 * Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0), 0);

/** Memory of the kernel in slabs and for TCP's buffers, in bytes: of the whole machine. */
export function kernelBytes() {
  const slab = 1024 * Number(/^Slab:\s+(\d+)/m.exec(read("/proc/meminfo"))[1]);
  const pages = Number(/^TCP: .* mem (\d+)/m.exec(read("/proc/net/sockstat"))?.[1] ?? 0);
  return slab + 4096 * pages;
}

const childrenOf = (pid) => read(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean).map(Number);

/** The process and all that it started. */
export const treeOf = (pid) => [pid, ...childrenOf(pid).flatMap(treeOf)];

/** A figure of Redis' INFO. @param where  socket's path, or {port} */
export function redisFigure(where, name) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(typeof where === "string" ? { path: where } : { host: "127.0.0.1", ...where });
    let text = "";
    socket.setTimeout(10_000, () => socket.destroy(new Error("Redis does not answer")));
    socket.on("error", reject);
    socket.on("data", (part) => {
      text += part;
      const figure = new RegExp(`^${name}:(\\d+)`, "m").exec(text);
      if (!figure) return;
      socket.destroy();
      resolve(Number(figure[1]));
    });
    socket.write("INFO\r\n");
  });
}

/** What the figures were taken on. */
export function machine() {
  const cpu = /^model name\s*:\s*(.*)$/m.exec(read("/proc/cpuinfo"))?.[1] ?? "unknown";
  const count = (read("/proc/cpuinfo").match(/^processor\s*:/gm) ?? []).length;
  const gib = Math.round(Number(/^MemTotal:\s+(\d+)/m.exec(read("/proc/meminfo"))[1]) / 1024 / 1024);
  return { cpu, cores: count, memory_gib: gib, kernel: read("/proc/sys/kernel/osrelease").trim() };
}
