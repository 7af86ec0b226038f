/**
 * Requests to the Hugging Face hub: endpoint and token from the usual environment variables, a few tries with growing pauses
 * where the network or the hub fails, and errors in words. `@huggingface/hub` makes the calls of the API; they go through here.
 */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { PrefoptError, RequestError, WorkError } from "../errors.ts";
import { type HubName, isCommit, isSafePath, showHubName } from "./hub-name.ts";

export interface HubFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** SHA-256 of the content, for files in large-file storage. */
  readonly sha256?: string;
  /** Git's id of the content, for all others. */
  readonly gitId?: string;
}

export interface ClientOptions {
  /** Milliseconds before the second try; each further pause is twice as long. Default 500. */
  readonly pause?: number;
  /** Milliseconds without a byte after which a connection counts as lost. Default 60,000. */
  readonly patience?: number;
}

/** Tries of one request, and of a download that does not get on. */
export const tries = 5;

const on = (value: string | undefined): boolean => /^(1|true|yes|on)$/i.test(value ?? "");

/** Whether the network must be left alone. */
export const isOffline = (): boolean => on(process.env.PREFOPT_OFFLINE) || on(process.env.HF_HUB_OFFLINE);

/** Where the hub is, without a slash at the end. */
export function hubEndpoint(): string {
  const endpoint = (process.env.HF_ENDPOINT || "https://huggingface.co").replace(/\/+$/, "");
  if (URL.canParse(endpoint) && /^https?:/.test(endpoint)) return endpoint;
  throw new RequestError({
    code: "hub-endpoint",
    what: `HF_ENDPOINT is "${endpoint}"`,
    why: "it is not an address",
    fix: "Set it to one such as https://huggingface.co, or remove it",
  });
}

/** The user's token: from the environment, or from the file that the hub's own tools keep. */
async function hubToken(): Promise<string | undefined> {
  const { HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH, HF_HOME, XDG_CACHE_HOME } = process.env;
  const given = (HF_TOKEN || HUGGING_FACE_HUB_TOKEN)?.trim();
  if (given) return given;
  const home = HF_HOME || join(XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface");
  const text = await readFile(HF_TOKEN_PATH || join(home, "token"), "utf8").catch(() => "");
  return text.trim() || undefined;
}

export class HubClient {
  readonly endpoint = hubEndpoint();
  readonly pause: number;
  readonly patience: number;

  constructor({ pause = 500, patience = 60_000 }: ClientOptions = {}) {
    this.pause = pause;
    this.patience = patience;
  }

  /** The commit that a name's revision is at now. */
  async commitOf(name: HubName): Promise<string> {
    const { modelInfo, datasetInfo } = await import("@huggingface/hub");
    const about = { name: name.repo, revision: name.revision };
    const { sha } = await this.#call(name, (options) =>
      name.kind === "model"
        ? modelInfo({ ...about, ...options, additionalFields: ["sha"] })
        : datasetInfo({ ...about, ...options, additionalFields: ["sha"] }),
    );
    if (typeof sha === "string" && isCommit(sha)) return sha;
    throw this.#strange(name, "it names no commit");
  }

  /** The files of a repository at a commit. */
  async filesOf(name: HubName, commit: string): Promise<HubFile[]> {
    const { listFiles } = await import("@huggingface/hub");
    return this.#call(name, async (options) => {
      const files: HubFile[] = [];
      const repo = { type: name.kind, name: name.repo };
      for await (const entry of listFiles({ repo, recursive: true, revision: commit, ...options })) {
        if (entry.type !== "file") continue;
        const { path, lfs, oid } = entry;
        const size = lfs?.size ?? entry.size;
        if (typeof path !== "string" || !isSafePath(path) || !Number.isSafeInteger(size) || size < 0)
          throw this.#strange(name, `it lists a file "${path}" of ${size} bytes`);
        files.push({ path, size, ...(lfs ? { sha256: lfs.oid } : { gitId: oid }) });
      }
      return files;
    });
  }

  /** Where a file's bytes are. */
  fileUrl({ kind, repo }: HubName, commit: string, path: string): string {
    const place = path.split("/").map(encodeURIComponent).join("/");
    return `${this.endpoint}/${kind === "dataset" ? "datasets/" : ""}${repo}/resolve/${commit}/${place}`;
  }

  /**
   * An answer that is in order, after as many tries as it takes. Throws a RequestError for what the hub refuses and a
   * WorkError where it cannot be reached. The token goes to the hub alone, never along a redirection to another place.
   */
  async request(url: string, about: HubName, init: RequestInit = {}, path?: string): Promise<Response> {
    const headers = new Headers(init.headers);
    const token = url.startsWith(`${this.endpoint}/`) ? await hubToken() : undefined;
    if (token) headers.set("Authorization", `Bearer ${token}`);
    for (let attempt = 1; ; attempt++) {
      let response: Response;
      try {
        response = await this.#once(url, { ...init, headers });
      } catch (cause) {
        if (attempt >= tries) throw this.unreachable(about, cause);
        await this.wait(attempt);
        continue;
      }
      if (response.ok) return response;
      const passing = response.status === 429 || response.status >= 500;
      await response.body?.cancel().catch(() => undefined);
      if (!passing || attempt >= tries) throw this.#refusal(response, about, token !== undefined, path);
      await this.wait(attempt, Number(response.headers.get("Retry-After")));
    }
  }

  /** The pause after a failed try; as long as the hub asks for, up to a minute. */
  async wait(attempt: number, asked = 0): Promise<void> {
    const own = this.pause * 2 ** (attempt - 1);
    await new Promise((resolve) => setTimeout(resolve, asked > 0 ? Math.min(asked * 1000, 60_000) : own));
  }

  /** The error of a hub that cannot be reached. */
  unreachable(about: HubName, cause: unknown): WorkError {
    const inner = (cause as { cause?: { code?: string; message?: string } }).cause;
    const proxy =
      (process.env.HTTPS_PROXY ?? process.env.https_proxy)
        ? " (HTTPS_PROXY is set: Node heeds it from version 24 on, with NODE_USE_ENV_PROXY=1)"
        : "";
    return new WorkError(
      {
        code: "hub-unreachable",
        what: `${this.endpoint} cannot be reached`,
        where: showHubName(about),
        why: inner?.code ?? inner?.message ?? (cause as Error).message,
        fix: `Check the network${proxy}, or set HF_HUB_OFFLINE=1 to use what was downloaded before`,
      },
      { cause },
    );
  }

  async #once(url: string, init: RequestInit): Promise<Response> {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(new Error("no answer")), this.patience);
    init.signal?.addEventListener("abort", () => abort.abort(init.signal?.reason));
    try {
      return await fetch(url, { ...init, signal: abort.signal });
    } finally {
      clearTimeout(timer);
    }
  }

  /** A call of the library, whose requests go through `request`. */
  async #call<T>(
    about: HubName,
    work: (options: { hubUrl: string; fetch: typeof fetch }) => Promise<T>,
  ): Promise<T> {
    try {
      return await work({
        hubUrl: this.endpoint,
        fetch: (input, init) =>
          this.request(input instanceof Request ? input.url : String(input), about, init),
      });
    } catch (cause) {
      if (cause instanceof PrefoptError) throw cause;
      throw this.#strange(about, (cause as Error).message, cause);
    }
  }

  #strange(about: HubName, why: string, cause?: unknown): WorkError {
    return new WorkError(
      {
        code: "hub-answer",
        what: `${this.endpoint} gives an answer that cannot be used`,
        where: showHubName(about),
        why,
        fix: "Try again later, or check HF_ENDPOINT",
      },
      { cause },
    );
  }

  #refusal(response: Response, about: HubName, hasToken: boolean, path?: string): PrefoptError {
    const { status } = response;
    const where = showHubName(about);
    const page = `${this.endpoint}/${about.kind === "dataset" ? "datasets/" : ""}${about.repo}`;
    const hubSays = response.headers.get("X-Error-Message") ?? undefined;
    const key = [
      response.headers.get("X-Error-Code") ?? "",
      `${status}${hasToken ? " with token" : ""}`,
      `${status}`,
    ];
    const known = key.map((k) => refusals[k]).find((r) => r !== undefined);
    if (known) {
      const [code, what, why, fix] = known;
      const filled = (text: string) => text.replaceAll("PAGE", page).replaceAll("REVISION", about.revision);
      return new RequestError({
        code,
        what: path && code === "hub-no-file" ? `there is no file ${path}` : filled(what),
        where,
        why: why || hubSays,
        fix: filled(fix),
      });
    }
    return new WorkError({
      code: "hub-status",
      what: `${this.endpoint} answers with status ${status}`,
      where,
      why: hubSays,
      fix: status === 429 ? "Wait a while; with HF_TOKEN set more requests are allowed" : "Try again later",
    });
  }
}

const openToken = "set HF_TOKEN to a token that may read it (https://huggingface.co/settings/tokens)";

/** What the hub refuses: by its error code, else by status. */
const refusals: Readonly<Record<string, readonly [code: string, what: string, why: string, fix: string]>> = {
  GatedRepo: [
    "hub-gated",
    "it is gated",
    "its owner wants its terms to be accepted first",
    `Accept them at PAGE, then ${openToken}`,
  ],
  RepoNotFound: [
    "hub-no-repository",
    "there is no such repository, or it is private",
    "",
    `Check the name; where it is private, ${openToken}`,
  ],
  RevisionNotFound: [
    "hub-no-revision",
    "there is no revision REVISION",
    "",
    "Name a branch, a tag or a commit that PAGE/commits has",
  ],
  EntryNotFound: ["hub-no-file", "there is no such file", "", "See PAGE/tree/REVISION for its files"],
  "401 with token": ["hub-token", "the hub does not accept the token", "", `Check HF_TOKEN: ${openToken}`],
  "401": [
    "hub-no-repository",
    "there is no such repository, or it is private or gated",
    "",
    `Check the name; where it is private, ${openToken}`,
  ],
  "403": ["hub-forbidden", "the token may not read it", "", `Ask for access at PAGE, or ${openToken}`],
  "404": [
    "hub-not-found",
    "there is no such repository or revision",
    "",
    "Check the name and the revision at PAGE",
  ],
};
