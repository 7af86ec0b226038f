/**
 * File access for the floors above, which may not touch Node themselves. Whatever is written appears whole or not at all:
 * it is written beside its place, flushed, and renamed. Errors name the path and the remedy.
 */
import { constants, createReadStream, existsSync } from "node:fs";
import * as fs from "node:fs/promises";
import { homedir, platform } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { PrefoptError, RequestError, WorkError } from "../errors.ts";
import { deepest, nestsTooDeep } from "./parse-json.ts";

export const joinPath = (...parts: string[]): string => join(...parts);
export const resolvePath = (...parts: string[]): string => resolve(...parts);
export const baseName = (path: string): string => basename(path);
export const dirName = (path: string): string => dirname(path);

/** Reasons behind system error codes, in words. */
const reasons: Readonly<Record<string, readonly [why: string, fix: string]>> = {
  ENOENT: ["there is no such file or folder", "Check the path"],
  EISDIR: ["it is a folder", "Name a file"],
  ENOTDIR: ["a part of the path is a file", "Check the path"],
  EACCES: ["permission denied", "Change its permissions, or use another folder"],
  EPERM: ["permission denied", "Change its permissions, or use another folder"],
  EROFS: ["the file system is read-only", "Use another folder"],
  ENOSPC: ["the disk is full", "Free some space, then go on with --resume"],
  EDQUOT: ["the disk quota is used up", "Free some space, then go on with --resume"],
  EFBIG: ["the file would be larger than allowed here", "Raise the limit (ulimit -f) or use another disk"],
};

function systemReason(error: unknown): { why: string; fix?: string } {
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? "";
  const known = reasons[code];
  return known
    ? { why: known[0], fix: known[1] }
    : { why: error instanceof Error ? error.message : String(error) };
}

export function cannotRead(path: string, cause: unknown): RequestError {
  return new RequestError(
    { code: "cannot-read", what: "cannot be read", where: path, ...systemReason(cause) },
    { cause },
  );
}

export function cannotWrite(path: string, cause: unknown): WorkError {
  return new WorkError(
    { code: "cannot-write", what: "cannot be written", where: path, ...systemReason(cause) },
    { cause },
  );
}

async function reading<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw cannotRead(path, error);
  }
}

async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof PrefoptError ? error : cannotWrite(path, error);
  }
}

export function exists(path: string): Promise<boolean> {
  return fs.access(path, constants.F_OK).then(
    () => true,
    () => false,
  );
}

export function isFolder(path: string): Promise<boolean> {
  return fs.stat(path).then(
    (s) => s.isDirectory(),
    () => false,
  );
}

export const readText = (path: string): Promise<string> => reading(path, () => fs.readFile(path, "utf8"));

export const readBytes = (path: string): Promise<Uint8Array> => reading(path, () => fs.readFile(path));

/** A parsed JSON file. Throws when it is not JSON. */
export async function readJson(path: string): Promise<unknown> {
  const text = await readText(path);
  try {
    if (nestsTooDeep(text)) throw new Error(`it is nested more than ${deepest} deep`);
    return JSON.parse(text);
  } catch (cause) {
    throw new RequestError(
      { code: "not-json", what: "is not valid JSON", where: path, why: (cause as Error).message },
      { cause },
    );
  }
}

/** Bytes [start, end) of a file. */
export async function readRange(
  path: string,
  start: number,
  end: number,
  into?: Uint8Array,
): Promise<Uint8Array> {
  const bytes = into ?? new Uint8Array(end - start);
  await reading(path, async () => {
    const file = await fs.open(path, "r");
    try {
      for (let at = 0; at < end - start;) {
        const { bytesRead } = await file.read(bytes, at, Math.min(end - start - at, 1 << 28), start + at);
        if (bytesRead === 0) throw new Error(`the file ends after ${start + at} bytes`);
        at += bytesRead;
      }
    } finally {
      await file.close();
    }
  });
  return bytes;
}

export const fileSize = (path: string): Promise<number> =>
  reading(path, async () => (await fs.stat(path)).size);

/** Names in a folder, sorted; an empty list where there is no folder. */
export async function listFolder(path: string): Promise<string[]> {
  if (!(await exists(path))) return [];
  return (await reading(path, () => fs.readdir(path))).sort();
}

export async function makeFolder(path: string): Promise<void> {
  await writing(path, () => fs.mkdir(path, { recursive: true }));
}

export async function removePath(path: string): Promise<void> {
  await writing(path, () => fs.rm(path, { recursive: true, force: true }));
}

/** Writes a file aside, flushes it and renames it into place. On failure the old file is as it was and nothing is left over. */
export async function writeFileAtomic(
  path: string,
  data: string | Uint8Array | AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<void> {
  const aside = `${path}.${process.pid}.partial`;
  await writing(path, async () => {
    try {
      const file = await fs.open(aside, "w");
      try {
        if (typeof data === "string" || data instanceof Uint8Array) await file.writeFile(data);
        else for await (const part of data) await writeAll(file, part);
        await file.sync();
      } finally {
        await file.close();
      }
      await fs.rename(aside, path);
    } catch (error) {
      await fs.rm(aside, { force: true });
      throw error;
    }
  });
}

async function writeAll(file: fs.FileHandle, part: Uint8Array): Promise<void> {
  for (let at = 0; at < part.length;)
    at += (await file.write(part, at, Math.min(part.length - at, 1 << 28))).bytesWritten;
}

/** Appends text to a file, making it if need be. */
export async function appendText(path: string, text: string): Promise<void> {
  await writing(path, () => fs.appendFile(path, text));
}

export async function copyFile(from: string, to: string): Promise<void> {
  await writing(to, () => fs.copyFile(from, to));
}

/**
 * Fills a folder aside and renames it into place, so that it is there whole or not at all. A folder of that name is
 * replaced. On failure nothing is left over.
 */
export async function publishFolder(path: string, fill: (folder: string) => Promise<void>): Promise<void> {
  const aside = `${path}.${process.pid}.partial`;
  try {
    await removePath(aside);
    await makeFolder(aside);
    await fill(aside);
    await writing(path, async () => {
      await fs.rm(path, { recursive: true, force: true });
      await fs.rename(aside, path);
    });
  } catch (error) {
    await fs.rm(aside, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Has a file written into a folder of its own beside its place, under its own name, and renames it from there, so that it is there
 * whole or not at all. A file of that name is replaced. On failure nothing is left over.
 */
export async function publishFile(path: string, fill: (file: string) => Promise<void>): Promise<void> {
  const aside = `${path}.${process.pid}.partial`;
  try {
    await removePath(aside);
    await makeFolder(aside);
    const file = join(aside, basename(path));
    await fill(file);
    await writing(path, () => fs.rename(file, path));
  } finally {
    await fs.rm(aside, { recursive: true, force: true });
  }
}

/** Removes what killed processes left half-written in a folder. */
export async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await listFolder(folder))
    if (name.endsWith(".partial")) await removePath(join(folder, name));
}

/** Chunks of a file, for hashing and line reading. */
export async function* fileChunks(path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(path) as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw cannotRead(path, error);
  }
}

/** Where caches of this user live; `PREFOPT_CACHE` names another place. */
export function userCacheFolder(): string {
  const { PREFOPT_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  if (PREFOPT_CACHE) return resolve(PREFOPT_CACHE);
  const places: Readonly<Record<string, string>> = {
    darwin: join(homedir(), "Library", "Caches"),
    win32: LOCALAPPDATA ?? join(homedir(), "AppData", "Local"),
  };
  return join(places[platform()] ?? XDG_CACHE_HOME ?? join(homedir(), ".cache"), "prefopt");
}

/** prefopt's own folder, where its recipes and assets are: the first above this file with a package.json. */
export function packageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json")) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

/** The path of a file that comes with prefopt: "assets/reviews". */
export const packagePath = (path: string): string => join(packageFolder(), path);
