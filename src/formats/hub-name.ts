/**
 * Names of models and data sets on the Hugging Face hub: `hf://owner/name`, `hf://datasets/owner/name`, with `@revision`
 * (a branch, a tag or a commit) and a file or folder of the repository behind it, as Python's huggingface_hub writes them.
 */
import { RequestError } from "../errors.ts";

export interface HubName {
  readonly kind: "model" | "dataset";
  /** "owner/name" */
  readonly repo: string;
  /** A branch, a tag or a commit; "main" where none was given. */
  readonly revision: string;
  /** A file or folder of the repository, or a pattern with `*`. */
  readonly path?: string;
}

const scheme = "hf://";
const usage =
  "Write hf://owner/name or hf://datasets/owner/name, then @revision and /file where they are wanted";

export const isHubName = (name: string): boolean => name.startsWith(scheme);

/** Takes a name apart. Throws a RequestError that says what is wrong with it. */
export function parseHubName(name: string): HubName {
  const fail = (why: string) =>
    new RequestError({ code: "hub-name", what: "is not a name on the hub", where: name, why, fix: usage });
  const rest = name.slice(scheme.length);
  const kind = /^(datasets|models|spaces|buckets|kernels)\//.exec(rest)?.[1];
  if (kind && kind !== "datasets" && kind !== "models") throw fail(`${kind} are neither models nor data`);
  const [owner = "", second = "", ...others] = (kind ? rest.slice(kind.length + 1) : rest).split("/");
  if (second === "") throw fail("it needs an owner and a name");
  // Revisions of pull requests and converted data have slashes themselves; others write them as %2F.
  const at = second.indexOf("@");
  let revision = at < 0 ? "main" : second.slice(at + 1);
  if (revision === "refs" && /^(pr|convert)$/.test(others[0] ?? ""))
    revision = ["refs", ...others.splice(0, 2)].join("/");
  try {
    revision = decodeURIComponent(revision);
  } catch {
    throw fail(`revision "${revision}" is not encoded rightly`);
  }
  const repo = `${owner}/${at < 0 ? second : second.slice(0, at)}`;
  if (owner.includes("@")) throw fail("the revision stands behind the name");
  if (!/^[A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95}$/.test(repo) || /--|\.\./.test(repo))
    throw fail(`"${repo}" has characters that names there do not have`);
  if (revision === "" || /[\s\\?#]|\.\./.test(revision)) throw fail(`"${revision}" is not a revision`);
  while (others.at(-1) === "") others.pop();
  const path = others.join("/");
  if (path !== "" && !isSafePath(path)) throw fail(`"${path}" is not a path inside of a repository`);
  return { kind: kind === "datasets" ? "dataset" : "model", repo, revision, ...(path !== "" && { path }) };
}

/** The name of parts; `parseHubName` takes it apart into the same. */
export function showHubName({ kind, repo, revision, path }: HubName): string {
  const special = /^refs\/(pr|convert)\/[^/]+$/.test(revision);
  const at = revision === "main" ? "" : `@${special ? revision : encodeURIComponent(revision)}`;
  return `${scheme}${kind === "dataset" ? "datasets/" : ""}${repo}${at}${path === undefined ? "" : `/${path}`}`;
}

/** Whether a revision is a commit, which never changes. */
export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);

/** Whether `pinned` is `name` at a commit, where `name` leaves the commit open. */
export function isPinOf(pinned: string, name: string): boolean {
  if (!isHubName(pinned) || !isHubName(name)) return false;
  const [a, b] = [parseHubName(pinned), parseHubName(name)];
  return (
    isCommit(a.revision) &&
    !isCommit(b.revision) &&
    showHubName({ ...b, revision: a.revision }) === showHubName(a)
  );
}

/** Whether a path stays inside of the folder that it is joined to, on every system. */
export const isSafePath = (path: string): boolean =>
  !/[\\\0]|^[A-Za-z]:/.test(path) &&
  path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
