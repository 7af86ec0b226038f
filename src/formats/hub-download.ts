/**
 * One file from the hub onto the disk: what a broken connection has left is continued, size and checksum are compared, and
 * only a file that is right takes its name.
 */
import { type Hash, createHash } from "node:crypto";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { PrefoptError, WorkError } from "../errors.ts";
import { cannotWrite, fileChunks } from "./files.ts";
import { type HubClient, type HubFile, tries } from "./hub-client.ts";
import { type HubName, showHubName } from "./hub-name.ts";

export interface Download {
  readonly client: HubClient;
  readonly name: HubName;
  readonly commit: string;
  readonly file: HubFile;
  /** Where the file goes; beside it, with `.partial` behind the name, what has come so far. */
  readonly target: string;
  /** Is told how many bytes of the file are there. */
  readonly onBytes?: (bytes: number) => void;
}

/** Downloads a file. Throws a WorkError where the hub keeps failing or sends other bytes than it says. */
export async function downloadFile(download: Download): Promise<void> {
  const { client, name, file, target } = download;
  const partial = `${target}.partial`;
  await mkdir(dirname(target), { recursive: true }).catch((cause: unknown) => {
    throw cannotWrite(target, cause);
  });
  for (let round = 1; ; round++) {
    const digest = await fetchAll(download, partial);
    if (digest === wanted(file)) break;
    await rm(partial, { force: true });
    // What was continued may have been begun by another version of the file: once more, from the start.
    if (round < 2) continue;
    throw new WorkError({
      code: "hub-checksum",
      what: `${file.path} comes with other bytes than ${client.endpoint} says`,
      where: showHubName(name),
      why: `its checksum is ${digest}, it should be ${wanted(file)}`,
      fix: "Try again; something on the way changes the file",
    });
  }
  await rename(partial, target).catch((cause: unknown) => {
    throw cannotWrite(target, cause);
  });
}

/** Fetches until the file has its size, over as many connections as it takes. Returns the checksum. */
async function fetchAll(download: Download, partial: string): Promise<string> {
  const { file } = download;
  const sink = await Sink.open(partial, file);
  try {
    for (let attempt = 1; sink.size < file.size;) {
      const before = sink.size;
      try {
        await fetchOnce(download, sink);
      } catch (cause) {
        if (cause instanceof PrefoptError) throw cause;
        attempt = sink.size > before ? 1 : attempt + 1; // as long as it gets on, it may go on
        if (attempt > tries) throw download.client.unreachable(download.name, cause);
        await download.client.wait(attempt);
      }
    }
    download.onBytes?.(sink.size);
    return await sink.finish();
  } finally {
    await sink.close();
  }
}

/** One connection: the bytes from where the file stands. */
async function fetchOnce({ client, name, commit, file, onBytes }: Download, sink: Sink): Promise<void> {
  const abort = new AbortController();
  const headers: Record<string, string> = { "Accept-Encoding": "identity" };
  if (sink.size > 0) headers.Range = `bytes=${sink.size}-`;
  const url = client.fileUrl(name, commit, file.path);
  const response = await client.request(url, name, { headers, signal: abort.signal }, file.path);
  // A server may not know ranges, or continue elsewhere than asked for.
  const from = /^bytes (\d+)-/.exec(response.headers.get("Content-Range") ?? "")?.[1];
  const starts = response.status === 206 ? Number(from) : 0;
  if (starts !== sink.size) {
    await sink.restart();
    if (starts !== 0) throw new Error("the hub continues elsewhere than asked for");
  }
  let timer: ReturnType<typeof setTimeout> | undefined;
  const watch = () => {
    clearTimeout(timer);
    timer = setTimeout(() => abort.abort(new Error("nothing came any more")), client.patience);
  };
  try {
    watch();
    const body = response.body as unknown as AsyncIterable<Uint8Array> | null;
    for await (const chunk of body ?? []) {
      watch();
      if (sink.size + chunk.length > file.size) {
        await sink.restart();
        throw new Error(`more than the ${file.size} bytes of the file came`);
      }
      await sink.write(chunk);
      onBytes?.(sink.size);
    }
    if (sink.size < file.size) throw new Error("the connection ended early");
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
}

/** The checksum that a file must have. */
const wanted = ({ sha256, gitId }: HubFile): string => sha256 ?? gitId ?? "";

/** Git's id of a file is the SHA-1 of its content behind a line with its size. */
function hasher({ sha256, size }: HubFile): Hash {
  return sha256 ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
}

/** The partial file, and the checksum of what is in it. */
class Sink {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #file: HubFile;
  #hash: Hash;
  size = 0;

  private constructor(path: string, handle: FileHandle, file: HubFile) {
    this.#path = path;
    this.#handle = handle;
    this.#file = file;
    this.#hash = hasher(file);
  }

  /** Opens a partial file and goes through what it has. */
  static async open(path: string, file: HubFile): Promise<Sink> {
    const handle = await open(path, "a+").catch((cause: unknown) => {
      throw cannotWrite(path, cause);
    });
    const sink = new Sink(path, handle, file);
    try {
      for await (const chunk of fileChunks(path)) {
        sink.#hash.update(chunk);
        sink.size += chunk.length;
      }
      if (sink.size > file.size) await sink.restart();
      return sink;
    } catch (error) {
      await sink.close();
      throw error;
    }
  }

  async write(chunk: Uint8Array): Promise<void> {
    await this.#writing(() => this.#handle.appendFile(chunk));
    this.#hash.update(chunk);
    this.size += chunk.length;
  }

  /** Throws away what has come so far. */
  async restart(): Promise<void> {
    await this.#writing(() => this.#handle.truncate(0));
    this.#hash = hasher(this.#file);
    this.size = 0;
  }

  /** Puts everything onto the disk; returns the checksum. */
  async finish(): Promise<string> {
    await this.#writing(() => this.#handle.sync());
    return wanted(this.#file) === "" ? "" : this.#hash.digest("hex");
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #writing(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (cause) {
      throw cannotWrite(this.#path, cause);
    }
  }
}
