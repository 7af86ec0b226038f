/** The methods that recipes can name: one line each. */
import { dpo } from "./dpo.ts";
import type { Method } from "./method.ts";

export const implementations: Readonly<Record<string, Method>> = { dpo };
