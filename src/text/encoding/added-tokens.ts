/**
 * Tokens that are found in a text before it is cut into words: turn markers and the like. Most are looked for in the text as
 * it is, some in the normalized text. The longest at a place counts; one may take the whitespace beside it along.
 */
import { quoted } from "../../errors.ts";
import { tokenId } from "./ids.ts";
import { wordCharacter } from "./pattern.ts";

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Found only where no word character stands beside it. */
  readonly singleWord: boolean;
  /** Takes the whitespace before and after it along. */
  readonly takesLeft: boolean;
  readonly takesRight: boolean;
  /** Looked for in the normalized text. */
  readonly normalized: boolean;
  readonly special: boolean;
}

/** The list `added_tokens` of a tokenizer.json. */
export function addedTokensOf(value: unknown): readonly AddedToken[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new Error("added_tokens is not a list");
  return value.map((entry) => {
    const { id, content, special = false, ...more } = (entry ?? {}) as Record<string, unknown>;
    if (id === undefined || typeof content !== "string")
      throw new Error(`added token ${JSON.stringify(entry)} has no id or content`);
    return {
      id: tokenId(id, `added token ${quoted(content)}`),
      content,
      special: special === true,
      singleWord: more.single_word === true,
      takesLeft: more.lstrip === true,
      takesRight: more.rstrip === true,
      normalized: (more.normalized ?? !special) === true,
    };
  });
}

/** Units [begin, end) of a text: a token, or text between tokens. */
export type Part = readonly [begin: number, end: number, token?: AddedToken];

type Node = Map<string, Node> & { token?: AddedToken };

/** A function that finds tokens in a text; each is looked for as `spelled` writes it. */
export function finder(
  tokens: readonly AddedToken[],
  spelled: (content: string) => string = (content) => content,
): (text: string) => readonly Part[] {
  const root: Node = new Map();
  for (const token of tokens) {
    let node = root;
    for (const unit of spelled(token.content).split("")) {
      const known = node.get(unit) ?? (new Map() as Node);
      node.set(unit, known);
      node = known;
    }
    if (node !== root) node.token ??= token;
  }
  return (text) => {
    const parts: Part[] = [];
    let done = 0;
    for (let at = 0; at < text.length;) {
      const token = longestAt(root, text, at);
      if (!token || (token.token.singleWord && isWithinWord(text, at, token.end))) {
        at = token ? token.end : at + 1;
        continue;
      }
      const begin = token.token.takesLeft ? done + trimmedLength(text.slice(done, at)) : at;
      const end = token.token.takesRight ? endOfSpace(text, token.end) : token.end;
      if (begin > done) parts.push([done, begin]);
      parts.push([begin, end, token.token]);
      at = done = end;
    }
    if (done < text.length) parts.push([done, text.length]);
    return parts;
  };
}

function longestAt(root: Node, text: string, at: number): { token: AddedToken; end: number } | undefined {
  let found: { token: AddedToken; end: number } | undefined;
  let node: Node | undefined = root;
  for (let i = at; i < text.length; i++) {
    node = node.get(text[i]);
    if (!node) break;
    if (node.token) found = { token: node.token, end: i + 1 };
  }
  return found;
}

const wordBefore = new RegExp(`${wordCharacter}$`, "u");
const wordAfter = new RegExp(`^${wordCharacter}`, "u");

const isWithinWord = (text: string, begin: number, end: number): boolean =>
  wordBefore.test(text.slice(Math.max(0, begin - 2), begin)) || wordAfter.test(text.slice(end, end + 2));

const trimmedLength = (text: string): number => text.replace(/\p{White_Space}+$/u, "").length;

function endOfSpace(text: string, at: number): number {
  const space = /\p{White_Space}*/uy;
  space.lastIndex = at;
  space.exec(text);
  return space.lastIndex;
}
