/**
 * Repositories of the hub in the user's cache: below `hub/HOST/models/OWNER/NAME` (or `datasets/…`) `refs/` says which commit
 * a revision was at, `commits/COMMIT.json` which files a commit has, and `files/COMMIT/` holds those that were wanted. A file
 * that is there under its name is whole. One process downloads into a repository at a time; others wait and find it done.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { PrefoptError, RequestError } from "../errors.ts";
import { exists, makeFolder, readJson, readText, userCacheFolder, writeFileAtomic } from "./files.ts";
import { type ClientOptions, HubClient, type HubFile, isOffline } from "./hub-client.ts";
import { downloadFile } from "./hub-download.ts";
import { type HubName, isCommit, showHubName } from "./hub-name.ts";
import { lockFolder } from "./lock.ts";

/** How far the files of a name are. */
export interface HubProgress {
  readonly name: string;
  /** The file at hand. */
  readonly file: string;
  /** Bytes that are there, of all that are wanted. */
  readonly done: number;
  readonly total: number;
}

/** "downloading hf://owner/name: 34 % of 1.2 GB" */
export function progressText({ name, done, total }: HubProgress): string {
  const share = total === 0 ? 100 : Math.floor((100 * done) / total);
  const size =
    total >= 1e9 ? `${(total / 1e9).toFixed(1)} GB` : `${(total / 1e6).toFixed(total < 1e7 ? 1 : 0)} MB`;
  return `downloading ${name}: ${share} % of ${size}`;
}

export interface HubOptions extends ClientOptions {
  readonly onProgress?: (progress: HubProgress) => void;
}

/** A repository at a commit. */
export interface HubRepository {
  readonly name: HubName;
  readonly commit: string;
  readonly files: readonly HubFile[];
  /** The folder that the files are in, once `download` has been called for them. */
  readonly folder: string;
  /** Sees to it that files are on the disk. Throws where they cannot be had. */
  download(files: readonly HubFile[]): Promise<void>;
}

/** Commits that names have come to in this process: within it a name means one commit. */
const known = new Map<string, string>();

/** Opens a repository: its revision is looked up, and its list of files read, from the hub or offline from the cache. */
export async function openRepository(name: HubName, options: HubOptions = {}): Promise<HubRepository> {
  const client = new HubClient(options);
  const { host } = new URL(client.endpoint);
  const place = join(
    userCacheFolder(),
    "hub",
    host.replaceAll(":", "_"),
    `${name.kind}s`,
    ...name.repo.split("/"),
  );
  return oneAtATime(place, async () => {
    const commit = await commitOf(name, place, client);
    const folder = join(place, "files", commit);
    const files = await filesOf(name, commit, place, client);
    return {
      name,
      commit,
      files,
      folder,
      download: (wanted) =>
        oneAtATime(place, () => fetchMissing({ name, commit, folder, place, client, options }, wanted)),
    };
  });
}

async function commitOf(name: HubName, place: string, client: HubClient): Promise<string> {
  if (isCommit(name.revision)) return name.revision;
  const ref = join(place, "refs", encodeURIComponent(name.revision));
  const key = `${ref}@${client.endpoint}`;
  const before = known.get(key);
  if (before) return before;
  if (isOffline()) {
    const commit = (await exists(ref)) ? (await readText(ref)).trim() : "";
    if (isCommit(commit)) return commit;
    throw offline(name, `revision ${name.revision} was never downloaded here`);
  }
  const commit = await client.commitOf(name);
  known.set(key, commit);
  await makeFolder(join(place, "refs"));
  await writeFileAtomic(ref, `${commit}\n`);
  return commit;
}

async function filesOf(
  name: HubName,
  commit: string,
  place: string,
  client: HubClient,
): Promise<readonly HubFile[]> {
  const list = join(place, "commits", `${commit}.json`);
  if (await exists(list)) return (await readJson(list)) as HubFile[];
  if (isOffline()) throw offline(name, `commit ${commit} was never downloaded here`);
  const files = await client.filesOf(name, commit);
  await makeFolder(join(place, "commits"));
  await writeFileAtomic(list, `${JSON.stringify(files, null, 1)}\n`);
  return files;
}

interface Fetching {
  readonly name: HubName;
  readonly commit: string;
  readonly folder: string;
  readonly place: string;
  readonly client: HubClient;
  readonly options: HubOptions;
}

async function fetchMissing(at: Fetching, wanted: readonly HubFile[]): Promise<void> {
  const { name, commit, folder, place, client, options } = at;
  const isThere = async (file: HubFile) => {
    const found = await stat(join(folder, file.path)).catch(() => undefined);
    return found?.isFile() === true && found.size === file.size;
  };
  const missing = async () => {
    const there = await Promise.all(wanted.map(isThere));
    return wanted.filter((_, i) => !there[i]);
  };
  if ((await missing()).length === 0) return;
  if (isOffline()) {
    const names = (await missing()).map((f) => f.path);
    const shown = names.slice(0, 5).join(", ") + (names.length > 5 ? `, … (${names.length})` : "");
    throw offline(name, `not in the cache: ${shown}`);
  }
  const lock = await waitForLock(place);
  try {
    const total = wanted.reduce((n, f) => n + f.size, 0);
    const left = await missing();
    let done = total - left.reduce((n, f) => n + f.size, 0);
    for (const file of left) {
      const tell = (bytes: number) =>
        options.onProgress?.({ name: showHubName(name), file: file.path, done: done + bytes, total });
      tell(0);
      await downloadFile({ client, name, commit, file, target: join(folder, file.path), onBytes: tell });
      done += file.size;
    }
  } finally {
    lock.release();
  }
}

/** The lock of a folder, as soon as no other process has it. */
async function waitForLock(folder: string) {
  await makeFolder(folder);
  for (;;) {
    try {
      return await lockFolder(folder);
    } catch (error) {
      if (!(error instanceof PrefoptError && error.code === "folder-in-use")) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

/** What is going on in a folder, so that this process does one thing at a time there. */
const queues = new Map<string, Promise<unknown>>();

function oneAtATime<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const turn = (queues.get(folder) ?? Promise.resolve()).then(work, work);
  queues.set(folder, turn);
  return turn;
}

function offline(name: HubName, why: string): RequestError {
  return new RequestError({
    code: "hub-offline",
    what: "it is not here, and the network must not be used",
    where: showHubName(name),
    why: `${why}, and ${process.env.PREFOPT_OFFLINE ? "PREFOPT_OFFLINE" : "HF_HUB_OFFLINE"} is set`,
    fix: "Run once without it, so that it is downloaded",
  });
}
