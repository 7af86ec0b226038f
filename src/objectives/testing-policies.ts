/** What tests of optimal policies share: completions of one token under whole distributions, and the pull on their logits. */

const logs = (p: readonly number[]) => p.map((x) => Math.log(x));

/** A completion of one token under a policy and a reference over all of them. */
export const drawn = (token: number, policy: readonly number[], from: readonly number[]) => ({
  tokens: [token],
  logits: [logs(policy)],
  referenceLogits: [logs(from)],
});

/** Largest entry of d(loss)/d(logits), the logits of all completions being the same ones. */
export function pull(gradients: readonly unknown[], roles: readonly string[]): number {
  const total: number[] = [];
  for (const example of gradients as Record<string, { logits: number[][] }>[])
    for (const role of roles) example[role].logits[0].forEach((g, v) => (total[v] = (total[v] ?? 0) + g));
  return Math.max(...total.map(Math.abs));
}
