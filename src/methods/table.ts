/**
 * The 34 published systems that prefopt is the home of, one entry each, in the order of the documentation. What works is
 * not written here: a system's status follows from whether an implementation is registered in `implementations.ts`.
 */
import { RequestError, nearest } from "../errors.ts";
import { implementations } from "./implementations.ts";

export type Status = "works" | "planned";

export interface MethodEntry {
  /** Id in recipes and on the command line. */
  readonly id: string;
  readonly title: string;
  /** arXiv number. */
  readonly paper: string;
  readonly year: number;
  /** What it trains: language, vision-language or diffusion models. */
  readonly modality: "text" | "image-text" | "diffusion";
  /** One plain sentence. */
  readonly idea: string;
}

type Row = readonly [id: string, title: string, paper: string, year: number, idea: string];

const text: readonly Row[] = [
  [
    "dpo",
    "Direct Preference Optimization",
    "2305.18290",
    2023,
    "A logistic loss on how much more the policy than its reference prefers the chosen answer.",
  ],
  [
    "simpo",
    "Simple Preference Optimization",
    "2405.14734",
    2024,
    "Average log-probability as reward, a target margin, and no reference model.",
  ],
  [
    "f-dpo",
    "DPO with general f-divergences",
    "2309.16240",
    2023,
    "Replaces the reverse KL behind DPO by another divergence, trading accuracy for diversity.",
  ],
  [
    "tdpo",
    "Token-level DPO",
    "2404.11999",
    2024,
    "Corrects DPO's margin by the KL of whole next-token distributions along both answers.",
  ],
  [
    "npo",
    "Negative Preference Optimization",
    "2404.05868",
    2024,
    "Unlearning: only rejected answers, pushed below the reference by a bounded loss.",
  ],
  [
    "triple-po",
    "Triple Preference Optimization",
    "2405.16681",
    2024,
    "One stage on gold, chosen and rejected answers instead of SFT followed by DPO.",
  ],
  [
    "lipo",
    "Listwise Preference Optimization",
    "2402.01878",
    2024,
    "Learning to rank whole lists of answers, each pair weighted by its effect on the ranking.",
  ],
  [
    "rso",
    "Statistical Rejection Sampling Optimization",
    "2309.06657",
    2023,
    "Thins the policy's samples until they follow the best policy of a reward model, then trains on pairs of them.",
  ],
  [
    "self-improving-po",
    "Self-Improving Robust Preference Optimization",
    "2406.01660",
    2024,
    "One model learns to answer and to revise its own answer.",
  ],
  [
    "self-supervised-po",
    "Self-supervised Preference Optimization",
    "2409.17791",
    2024,
    "Adds the task of telling how much of an answer's key content was removed.",
  ],
  [
    "t-reg",
    "Token-level Reward Regularization",
    "2412.02685",
    2024,
    "Token rewards that the model finds by contrasting prompts steer where the credit goes.",
  ],
  [
    "dove",
    "Joint preference over instruction-response pairs",
    "2404.00530",
    2024,
    "Compares answers to different instructions through joint probabilities.",
  ],
  [
    "rationale-po",
    "Preference optimization with rationales",
    "2407.14477",
    2024,
    "Learns, besides the preference, the written reason for it.",
  ],
  [
    "ches",
    "Likelihood displacement and CHES",
    "2410.08847",
    2024,
    "Finds and drops pairs so alike for the model that training on them lowers both.",
  ],
  [
    "xpo",
    "Exploratory Preference Optimization",
    "2405.21046",
    2024,
    "Online DPO with a bonus for leaving what the reference covers already.",
  ],
  [
    "sppo",
    "Self-Play Preference Optimization",
    "2405.00675",
    2024,
    "Rounds of play against oneself, with a square loss on estimated win rates.",
  ],
  [
    "accelerated-po",
    "Accelerated Preference Optimization",
    "2410.06293",
    2024,
    "Nesterov momentum between the rounds of iterative preference optimization.",
  ],
  [
    "ofs-dpo",
    "Online fast-slow chasing DPO (with COFS-DPO)",
    "2406.05534",
    2024,
    "Two adapters with different learning rates chase each other along a stream of pairs.",
  ],
  [
    "vpo",
    "Value-Incentivized Preference Optimization",
    "2405.19320",
    2024,
    "Adds the value of the implied reward: optimism online, pessimism offline.",
  ],
  [
    "upo",
    "Uncertainty-enhanced Preference Optimization",
    "2409.11212",
    2024,
    "Weighs self-made pairs by how sure a separate classifier is of them.",
  ],
  [
    "step-dpo",
    "Step-wise DPO",
    "2406.18629",
    2024,
    "Compares single reasoning steps: the right next one against the first wrong one.",
  ],
  [
    "fusechat-3",
    "FuseChat-3.0",
    "2503.04222",
    2025,
    "Fuses strong models into a small one with pairs whose answers come from the same source.",
  ],
  [
    "fspo",
    "Few-Shot Preference Optimization",
    "2502.19312",
    2025,
    "A user's labelled pairs in the prompt become a personal policy.",
  ],
  [
    "preflexor",
    "PRefLexOR",
    "2410.12375",
    2024,
    "Thinking sections learned in two stages on self-made data, then refined in recursion.",
  ],
  [
    "fellowship",
    "The Fellowship of the LLMs",
    "2408.08688",
    2024,
    "Juries, debates and reviewer loops of models that make preference data.",
  ],
  [
    "knowpo",
    "Knowledge-aware Preference Optimization",
    "2408.03297",
    2024,
    "Teaches retrieval-augmented models when to trust their context, from both kinds of error.",
  ],
];
const diffusion: readonly Row[] = [
  [
    "diffusion-dpo",
    "Diffusion-DPO",
    "2311.12908",
    2023,
    "DPO in which denoising errors stand for log-probabilities of images.",
  ],
  [
    "rankdpo",
    "RankDPO with Syn-Pic",
    "2410.18013",
    2024,
    "Whole ranked lists of images, labelled by a vote of reward models.",
  ],
  [
    "step-aware-po",
    "Step-by-step Preference Optimization",
    "2406.04314",
    2024,
    "At each denoising step the better of several branches is preferred.",
  ],
  [
    "mapo",
    "Margin-aware Preference Optimization",
    "2406.06424",
    2024,
    "Diffusion training with a preference margin and no reference model.",
  ],
  [
    "dcpo",
    "Dual Caption Preference Optimization",
    "2502.06023",
    2025,
    "Gives the preferred and the rejected image captions of their own.",
  ],
  [
    "seppo",
    "Semi-Policy Preference Optimization",
    "2410.05255",
    2024,
    "Earlier checkpoints make the rival image; a test decides whether it is pushed or pulled.",
  ],
];
const imageText: readonly Row[] = [
  [
    "mia-dpo",
    "Multi-Image Augmented DPO",
    "2410.17637",
    2024,
    "Multi-image pairs made from single-image data, chosen by where the model looks.",
  ],
  [
    "task-po",
    "Task Preference Optimization",
    "2412.19326",
    2024,
    "Visual task heads whose dense labels act as preferences for a language model.",
  ],
];

const entries = (rows: readonly Row[], modality: MethodEntry["modality"]): MethodEntry[] =>
  rows.map(([id, title, paper, year, idea]) => ({ id, title, paper, year, modality, idea }));

export const methods: readonly MethodEntry[] = [
  ...entries(text, "text"),
  ...entries(diffusion, "diffusion"),
  ...entries(imageText, "image-text"),
];

/** Acronyms that several systems claim. */
const ambiguous: Readonly<Record<string, readonly string[]>> = {
  tpo: ["triple-po", "task-po"],
  spo: ["self-supervised-po", "step-aware-po"],
  apo: ["accelerated-po", "the objectives apo-zero and apo-down of dpo"],
};
const aliases: Readonly<Record<string, string>> = { "cofs-dpo": "ofs-dpo" };

/** The entry of a method id. Throws for an acronym that several systems claim, and for an unknown id. */
export function methodNamed(name: string): MethodEntry {
  const id = aliases[name] ?? name;
  const found = methods.find((m) => m.id === id);
  if (found) return found;
  const claims = ambiguous[id.toLowerCase()];
  const guess = nearest(
    id,
    methods.map((m) => m.id),
  );
  throw new RequestError({
    code: claims ? "ambiguous-method" : "unknown-method",
    what: claims ? `"${name}" names several methods` : `there is no method "${name}"`,
    fix: claims
      ? `Choose one of: ${claims.join(", ")}`
      : guess
        ? `Did you mean ${guess}?`
        : "See: prefopt methods",
  });
}

/** "works" when recipes can name it. */
export function statusOf({ id }: MethodEntry): Status {
  return Object.hasOwn(implementations, id) ? "works" : "planned";
}
