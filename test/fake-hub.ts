/**
 * A hub on this machine, for tests: the paths of the real one's API that prefopt calls, pages of listings, large files behind
 * a redirection to another server, ranges, private and gated repositories, and faults on order.
 */
import { createHash } from "node:crypto";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** What goes wrong with the next answers for a path, one after the other. */
export type Fault =
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  /** The connection breaks after so many bytes of the body. */
  | { readonly cutAfter: number }
  /** Nothing comes any more after so many bytes. */
  | { readonly stallAfter: number }
  /** Other bytes of the same length. */
  | { readonly corrupt: true }
  /** More bytes than the file has. */
  | { readonly tooMany: true }
  /** Ranges are not heeded. */
  | { readonly ignoreRange: true };

export interface FakeRepository {
  /** Contents by path. */
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  /** Paths in large-file storage. */
  readonly large?: readonly string[];
  readonly commit?: string;
  /** Further names of the commit; "main" always is one. */
  readonly revisions?: readonly string[];
  /** Needs the token `hf_good`. */
  readonly access?: "private" | "gated";
}

export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly range?: string;
  readonly token?: string;
  readonly status: number;
}

export class FakeHub {
  /** By kind, owner and name: "models/owner/name". */
  readonly repositories = new Map<string, FakeRepository>();
  /** By the end of the URL's path. */
  readonly faults = new Map<string, Fault[]>();
  readonly seen: Seen[] = [];
  readonly #hub: Server;
  readonly #store: Server;

  private constructor() {
    this.#hub = createServer((request, response) => this.#answer(request, response, false));
    this.#store = createServer((request, response) => this.#answer(request, response, true));
  }

  static async start(): Promise<FakeHub> {
    const hub = new FakeHub();
    for (const server of [hub.#hub, hub.#store])
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return hub;
  }

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#store]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  /** Requests whose path ends so. */
  seenOf(end: string): Seen[] {
    return this.seen.filter((s) => s.url.split("?")[0].endsWith(end));
  }

  get #storeUrl(): string {
    return `http://127.0.0.1:${(this.#store.address() as AddressInfo).port}`;
  }

  #answer(request: IncomingMessage, response: ServerResponse, isStore: boolean): void {
    const url = new URL(request.url ?? "/", this.url);
    response.on("close", () =>
      this.seen.push({
        method: request.method ?? "",
        url: `${isStore ? "store" : ""}${request.url}`,
        range: request.headers.range,
        token: request.headers.authorization,
        status: response.statusCode,
      }),
    );
    const path = decodeURIComponent(url.pathname);
    const faults = [...this.faults].find(([end]) => path.endsWith(end))?.[1];
    // A fault of a body waits for the answer that has one.
    const redirects = !isStore && this.#isLarge(path);
    const fault = redirects && faults?.[0] && !("status" in faults[0]) ? undefined : faults?.shift();
    if (fault && "status" in fault) {
      response.writeHead(fault.status, fault.headers).end();
      return;
    }
    if (isStore) {
      const [, kind, owner, name, ...rest] = path.split("/");
      const content = this.repositories.get(`${kind}/${owner}/${name}`)?.files[rest.join("/")] ?? "";
      send(request, response, Buffer.from(content), fault);
      return;
    }
    this.#answerHub(request, response, url, path, fault);
  }

  #isLarge(path: string): boolean {
    const match = /^(\/datasets)?\/([^/]+\/[^/]+)\/resolve\/[^/]+\/(.+)$/.exec(path);
    const repository = match && this.repositories.get(`${match[1] ? "datasets" : "models"}/${match[2]}`);
    return Boolean(repository && match && repository.large?.includes(match[3]));
  }

  #answerHub(
    request: IncomingMessage,
    response: ServerResponse,
    url: URL,
    path: string,
    fault: Fault | undefined,
  ): void {
    const refuse = (status: number, code: string) =>
      response
        .writeHead(status, { "X-Error-Code": code, "Content-Type": "application/json" })
        .end(JSON.stringify({ error: code }));
    const api = /^\/api\/(models|datasets)\/([^/]+\/[^/]+)\/(revision|tree)\/(.+)$/.exec(path);
    const file = /^\/(datasets\/)?([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path);
    const kind = api?.[1] ?? (file?.[1] ? "datasets" : "models");
    const name = api?.[2] ?? file?.[2] ?? "";
    const repository = this.repositories.get(`${kind}/${name}`);
    const token = request.headers.authorization;
    if (token && token !== "Bearer hf_good") return void refuse(401, "");
    if (!repository || (repository.access === "private" && !token))
      return void refuse(token ? 404 : 401, "RepoNotFound");
    const commit = repository.commit ?? "1".repeat(40);
    const revision = api?.[4] ?? file?.[3] ?? "";
    if (![commit, "main", ...(repository.revisions ?? [])].includes(revision))
      return void refuse(404, "RevisionNotFound");
    if (api?.[3] === "revision") {
      const info = { _id: "1", id: name, sha: commit, private: false, lastModified: "2024-01-01T00:00:00Z" };
      return void response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(info));
    }
    if (api) return this.#list(response, url, repository);
    if (repository.access === "gated" && !token) return void refuse(401, "GatedRepo");
    const content = repository.files[file?.[4] ?? ""];
    if (content === undefined) return void refuse(404, "EntryNotFound");
    if (repository.large?.includes(file?.[4] ?? "")) {
      const place = `${this.#storeUrl}/${kind}/${name}/${file?.[4]}`;
      return void response.writeHead(302, { Location: place, "X-Linked-Size": content.length }).end();
    }
    send(request, response, Buffer.from(content), fault);
  }

  /** Two entries a page, folders among them. */
  #list(response: ServerResponse, url: URL, repository: FakeRepository): void {
    const entries = Object.entries(repository.files).flatMap(([path, content]) => {
      const bytes = Buffer.from(content);
      const large = repository.large?.includes(path);
      const oid = createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      const folder = path.includes("/") ? [{ type: "directory", path: path.split("/")[0], size: 0 }] : [];
      const entry = {
        type: "file",
        path,
        size: bytes.length,
        oid: large ? "2".repeat(40) : oid,
        ...(large && { lfs: { oid: sha256, size: bytes.length, pointerSize: 130 } }),
      };
      return [...folder, entry];
    });
    const from = Number(url.searchParams.get("cursor") ?? 0);
    const next = new URL(url);
    next.searchParams.set("cursor", String(from + 2));
    response
      .writeHead(200, {
        "Content-Type": "application/json",
        ...(from + 2 < entries.length && { Link: `<${next.href}>; rel="next"` }),
      })
      .end(JSON.stringify(entries.slice(from, from + 2)));
  }
}

/** Sends bytes, or the asked-for rest of them, with the fault that was ordered. */
function send(
  request: IncomingMessage,
  response: ServerResponse,
  content: Buffer,
  fault: Fault | undefined,
): void {
  const has = (key: string) => fault !== undefined && key in fault;
  const from = has("ignoreRange") ? undefined : /^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1];
  let body = content.subarray(Number(from ?? 0));
  if (has("corrupt")) body = Buffer.from(body.map((b) => b ^ 1));
  if (has("tooMany")) body = Buffer.concat([body, Buffer.from("more")]);
  response.writeHead(from === undefined ? 200 : 206, {
    "Content-Length": body.length,
    ...(from !== undefined && { "Content-Range": `bytes ${from}-${content.length - 1}/${content.length}` }),
  });
  if (fault && "cutAfter" in fault) {
    response.write(body.subarray(0, fault.cutAfter), () => setTimeout(() => response.destroy(), 20));
  } else if (fault && "stallAfter" in fault) response.write(body.subarray(0, fault.stallAfter));
  else response.end(body);
}
