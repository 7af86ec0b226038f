/** Token ids as files give them. */

/** Pairs of ids are told apart by one number; no vocabulary is near this. */
const limit = 2 ** 26;

/** The id. Throws where it is none; `what` names it. */
export function tokenId(value: unknown, what: string): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value < limit) return value;
  throw new Error(`${what} has the id ${JSON.stringify(value) ?? "undefined"}, which is none`);
}
