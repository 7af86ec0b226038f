/**
 * One process holds a folder at a time. The lock is a file that names its holder; a holder that no longer lives (killed,
 * power lost) is found out by its process id and start time, and its lock is taken over at once.
 */
import { readFileSync, rmSync } from "node:fs";
import { link, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { RequestError } from "../errors.ts";
import { cannotWrite } from "./files.ts";

export interface FolderLock {
  release(): void;
}

interface Holder {
  pid: number;
  started: string | null;
}

/** Takes the lock of a folder. Throws when another living process has it. */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const path = join(folder, ".lock");
  const own = JSON.stringify({ pid: process.pid, started: startOf(process.pid) } satisfies Holder);
  const aside = join(folder, `.lock.${process.pid}`);
  for (let attempt = 0; attempt < 20; attempt++) {
    // A link appears with its content or not at all, and fails where the name is taken.
    try {
      const file = await open(aside, "w");
      await file.writeFile(own);
      await file.close();
      await link(aside, path);
      return { release: () => rmSync(path, { force: true }) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw cannotWrite(path, error);
    } finally {
      await rm(aside, { force: true });
    }
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text === undefined) continue; // released just now
    const holder = parse(text);
    if (holder && isAlive(holder)) {
      throw new RequestError({
        code: "folder-in-use",
        what: "another process is working in this folder",
        where: folder,
        why: `process ${holder.pid} holds its lock`,
        fix: "Wait until it ends, or choose another folder with --out",
      });
    }
    // Move the dead lock out of the way; of two processes that try, the rename succeeds for one.
    const dead = join(folder, `.lock.dead.${process.pid}`);
    await rename(path, dead).catch(() => undefined);
    const moved = await readFile(dead, "utf8").catch(() => text);
    if (moved !== text) await link(dead, path).catch(() => undefined); // it was a new holder's: put it back
    await rm(dead, { force: true });
  }
  throw new RequestError({
    code: "folder-in-use",
    what: "its lock keeps changing hands",
    where: folder,
    fix: "Try again",
  });
}

function parse(text: string): Holder | undefined {
  try {
    return JSON.parse(text) as Holder;
  } catch {
    return undefined;
  }
}

function isAlive({ pid, started }: Holder): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  const now = startOf(pid);
  return started === null || now === null || now === started;
}

/** When a process began, in clock ticks since boot (Linux); null where that cannot be known. */
function startOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is a name in parentheses that may hold spaces; field 22 is the start time.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}
