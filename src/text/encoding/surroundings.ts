/** What the post-processor of a tokenizer.json puts around a text: a begin token for most, an end token for some. */

import { tokenId } from "./ids.ts";

type Json = Readonly<Record<string, unknown>>;

export interface Surroundings {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

const none: Surroundings = { before: [], after: [] };

/** By `type`. */
const makers: Readonly<Record<string, (json: Json) => Surroundings>> = {
  ByteLevel: () => none,
  TemplateProcessing: template,
  BertProcessing: classes,
  RobertaProcessing: classes,
  Sequence: (json) =>
    (json.processors as readonly unknown[]).map(surroundingsOf).reduce(
      (inner, outer) => ({
        before: [...outer.before, ...inner.before],
        after: [...inner.after, ...outer.after],
      }),
      none,
    ),
};

/** Throws for a type that is not known. */
export function surroundingsOf(value: unknown): Surroundings {
  if (value === null || value === undefined) return none;
  const json = value as Json;
  const type = String(json.type);
  if (!Object.hasOwn(makers, type))
    throw new Error(`post-processor ${JSON.stringify(json.type)} is not supported`);
  return makers[type](json);
}

function template({ single, special_tokens: tokens }: Json): Surroundings {
  const items = single as readonly { SpecialToken?: { id: string }; Sequence?: unknown }[];
  const idsOf = (name: string) => {
    const found = (tokens as Record<string, { ids?: number[] }> | undefined)?.[name];
    if (!Array.isArray(found?.ids))
      throw new Error(`its template names ${JSON.stringify(name)} and gives it no ids`);
    return found.ids.map((id) => tokenId(id, `${JSON.stringify(name)} of its template`));
  };
  const at = items.findIndex((item) => item.Sequence !== undefined);
  const ids = (part: typeof items) => part.flatMap((i) => (i.SpecialToken ? idsOf(i.SpecialToken.id) : []));
  return { before: ids(items.slice(0, at)), after: ids(items.slice(at + 1)) };
}

function classes({ cls, sep }: Json): Surroundings {
  const id = (pair: unknown) => tokenId(Number((pair as readonly [string, number])[1]), "its post-processor");
  return { before: [id(cls)], after: [id(sep)] };
}
