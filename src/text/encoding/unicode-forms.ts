/**
 * Unicode normalization that remembers where characters came from. Characters are decomposed, sorted and composed again;
 * what is composed counts as its first character, as in the original library, whose rules of counting these are: each
 * output character consumes inputs by position, and characters that a decomposition adds consume none.
 */
import { type Edit, type Piece, edited, unitsAt } from "./piece.ts";

export type Form = "NFC" | "NFD" | "NFKC" | "NFKD";

/** A character and those that may combine with it or change places. */
const segments = /[^][\p{M}\u1160-\u11ff\uff9e-\uffdc]*/gu;

/** The piece in a normalization form. */
export function inForm(piece: Piece, form: Form): Piece {
  const { text } = piece;
  const whole = text.normalize(form);
  if (whole === text) return piece;
  if (!piece.from) return { ...piece, text: whole };
  const parts = [...text.matchAll(segments)].map((match) => ({ at: match.index, text: match[0] }));
  const apart = parts.map((part) => part.text.normalize(form)).join("") === whole;
  const edits = (apart ? parts : [{ at: 0, text }]).flatMap((part) => segmentEdits(part.text, part.at, form));
  return edited(piece, edits);
}

interface Character {
  readonly char: string;
  /** Input characters that it consumes, less one: 0 for a character itself, -1 … for added ones. */
  readonly added: number;
}

function segmentEdits(segment: string, at: number, form: Form): Edit[] {
  const made = segment.normalize(form);
  if (made === segment) return [[at, at + segment.length]];
  const inputs = [...segment];
  const starts: number[] = [];
  for (let i = at, k = 0; k < inputs.length; i += inputs[k++].length) starts.push(i);
  const consumed = composed(sorted(inputs, form), [...made], form);
  let next = 0;
  return [...made].map((char, k): Edit => {
    // A character that consumes nothing belongs to the one before it.
    const own = consumed[k] > 0 ? next : Math.max(0, next - 1);
    next += consumed[k];
    const input = Math.min(own, inputs.length - 1);
    return [starts[input], starts[input] + inputs[input].length, char];
  });
}

/** Decomposed characters in canonical order; equal ones keep their order. */
function sorted(inputs: readonly string[], form: Form): Character[] {
  const decomposition = form.startsWith("NFK") ? "NFKD" : "NFD";
  const waiting = new Map<string, number[]>();
  for (const input of inputs) {
    [...input.normalize(decomposition)].forEach((char, k) => {
      waiting.set(char, [...(waiting.get(char) ?? []), k === 0 ? 0 : 1]);
    });
  }
  return [...inputs.join("").normalize(decomposition)].map((char) => ({
    char,
    added: waiting.get(char)?.shift() ?? 0,
  }));
}

/** How many inputs each output character consumes. */
function composed(parts: readonly Character[], outputs: readonly string[], form: Form): number[] {
  const decomposition = form.startsWith("NFK") ? "NFKD" : "NFD";
  const used = parts.map(() => false);
  let front = 0;
  return outputs.map((output) => {
    let consumed = 0;
    let at = front;
    for (const char of output.normalize(decomposition)) {
      while (at < parts.length && (used[at] || parts[at].char !== char)) at++;
      if (at >= parts.length) break;
      used[at] = true;
      consumed += 1 - parts[at].added;
    }
    while (front < parts.length && used[front]) front++;
    return consumed;
  });
}

/** Lower case, character by character. */
export function lowerCase(piece: Piece): Piece {
  const edits: Edit[] = [];
  for (let at = 0; at < piece.text.length;) {
    const end = at + unitsAt(piece.text, at);
    const char = piece.text.slice(at, end);
    const lower = char.toLowerCase();
    edits.push(lower === char ? [at, end] : [at, end, lower]);
    at = end;
  }
  return edited(piece, edits);
}
