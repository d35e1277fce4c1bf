// A small disk in memory, to be filled: a tmpfs of its own, which takes root's rights to mount.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, rmdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const SIZE = "48m";
const BLOCK_BYTES = 65536;

/** Mounted, and unmounted at the test's end; null where that is not allowed. */
export function memoryDisk(t) {
  const directory = mkdtempSync(path.join(tmpdir(), "nanopush-disk-"));
  if (spawnSync("mount", ["-t", "tmpfs", "-o", `size=${SIZE},mode=700`, "tmpfs", directory], { stdio: "ignore" }).status !== 0) {
    rmdirSync(directory);
    return null;
  }
  t.after(() => {
    spawnSync("umount", ["-l", directory]);
    rmdirSync(directory);
  });
  const ballast = path.join(directory, "ballast");
  return {
    path: directory,
    /** Until not a byte more fits. */
    fill() {
      try {
        for (;;) writeFileSync(ballast, Buffer.alloc(BLOCK_BYTES), { flag: "a" });
      } catch (error) {
        if (error.code !== "ENOSPC") throw error;
      }
    },
    free() {
      rmSync(ballast, { force: true });
    },
  };
}
