/**
 * The 34 published systems that prefopt is the home of, in the order of the documentation: names, papers, and one plain
 * sentence each. What of them works is not written here; it follows from what is registered (`table.ts`).
 */

export interface System {
  /** Id in recipes and on the command line. */
  readonly id: string;
  /** Full name, with the acronym that its paper uses. */
  readonly title: string;
  /** arXiv number. */
  readonly paper: string;
  /** Of the first version. */
  readonly year: number;
  /** Where its novelty lies; a loop brings its own losses, a pipeline its own training. */
  readonly kind:
    "offline loss" | "auxiliary loss" | "online loop" | "data pipeline" | "data filter" | "multi-task system";
  /** One plain sentence. */
  readonly idea: string;
  /** What it trains. */
  readonly modality: "text" | "image-text" | "diffusion";
  /** Ids of the objectives that it trains with, whether they are there yet or not; the system's own is the first. */
  readonly trainsWith: readonly string[];
}

/** `trainsWith` is written where it is not the system's own id. */
type Row = Omit<System, "modality" | "trainsWith"> & { readonly trainsWith?: readonly string[] };

const text: readonly Row[] = [
  {
    id: "dpo",
    title: "Direct Preference Optimization (DPO)",
    paper: "2305.18290",
    year: 2023,
    kind: "offline loss",
    idea: "A logistic loss on how much more the policy than its reference prefers the chosen answer.",
  },
  {
    id: "simpo",
    title: "Simple Preference Optimization (SimPO)",
    paper: "2405.14734",
    year: 2024,
    kind: "offline loss",
    idea: "Average log-probability as reward, a target margin, and no reference model.",
  },
  {
    id: "f-dpo",
    title: "DPO with general f-divergences (f-DPO)",
    paper: "2309.16240",
    year: 2023,
    kind: "offline loss",
    idea: "Replaces the reverse KL behind DPO by another divergence, trading accuracy for diversity.",
  },
  {
    id: "tdpo",
    title: "Token-level DPO (TDPO1, TDPO2)",
    paper: "2404.11999",
    year: 2024,
    kind: "offline loss",
    idea: "Corrects DPO's margin by the KL of whole next-token distributions along both answers.",
  },
  {
    id: "npo",
    title: "Negative Preference Optimization for unlearning (NPO, SimNPO)",
    paper: "2404.05868",
    year: 2024,
    kind: "offline loss",
    idea: "Unlearning: only rejected answers, pushed below the reference by a bounded loss.",
    trainsWith: ["npo", "simnpo", "gradient-ascent", "gradient-difference", "idk"],
  },
  {
    id: "triple-po",
    title: "Triple Preference Optimization (TPO, TPO-L)",
    paper: "2405.16681",
    year: 2024,
    kind: "offline loss",
    idea: "One stage on gold, chosen and rejected answers instead of SFT followed by DPO.",
  },
  {
    id: "lipo",
    title: "Listwise Preference Optimization (LiPO-λ)",
    paper: "2402.01878",
    year: 2024,
    kind: "offline loss",
    idea: "Learning to rank whole lists of answers, each pair weighted by its effect on the ranking.",
  },
  {
    id: "rso",
    title: "Statistical Rejection Sampling Optimization (RSO)",
    paper: "2309.06657",
    year: 2023,
    kind: "data pipeline",
    idea: "Thins the policy's samples until they follow the best policy of a reward model, then trains on pairs of them.",
  },
  {
    id: "self-improving-po",
    title: "Self-Improving Robust Preference Optimization (SRPO)",
    paper: "2406.01660",
    year: 2024,
    kind: "offline loss",
    idea: "One model learns to answer and to revise its own answer.",
  },
  {
    id: "self-supervised-po",
    title: "Self-supervised Preference Optimization (SPO)",
    paper: "2409.17791",
    year: 2024,
    kind: "auxiliary loss",
    idea: "Adds the task of telling how much of an answer's key content was removed.",
  },
  {
    id: "t-reg",
    title: "Token-level Reward Regularization (T-REG)",
    paper: "2412.02685",
    year: 2024,
    kind: "offline loss",
    idea: "Token rewards that the model finds by contrasting prompts steer where the credit goes.",
  },
  {
    id: "dove",
    title: "Joint preference over instruction-response pairs (DOVE)",
    paper: "2404.00530",
    year: 2024,
    kind: "offline loss",
    idea: "Compares answers to different instructions through joint probabilities.",
  },
  {
    id: "rationale-po",
    title: "Preference optimization with rationales (RDPO)",
    paper: "2407.14477",
    year: 2024,
    kind: "offline loss",
    idea: "Learns, besides the preference, the written reason for it.",
  },
  {
    id: "ches",
    title: "Likelihood displacement and CHES filtering",
    paper: "2410.08847",
    year: 2024,
    kind: "data filter",
    idea: "Finds and drops pairs so alike for the model that training on them lowers both.",
  },
  {
    id: "xpo",
    title: "Exploratory Preference Optimization (XPO)",
    paper: "2405.21046",
    year: 2024,
    kind: "online loop",
    idea: "Online DPO with a bonus for leaving what the reference covers already.",
  },
  {
    id: "sppo",
    title: "Self-Play Preference Optimization (SPPO)",
    paper: "2405.00675",
    year: 2024,
    kind: "online loop",
    idea: "Rounds of play against oneself, with a square loss on estimated win rates.",
    trainsWith: ["sppo", "sppo-hard"],
  },
  {
    id: "accelerated-po",
    title: "Accelerated Preference Optimization (APO)",
    paper: "2410.06293",
    year: 2024,
    kind: "online loop",
    idea: "Nesterov momentum between the rounds of iterative preference optimization.",
    trainsWith: ["dpo", "ipo", "sppo"],
  },
  {
    id: "ofs-dpo",
    title: "Online Fast-Slow chasing DPO (OFS-DPO, COFS-DPO)",
    paper: "2406.05534",
    year: 2024,
    kind: "online loop",
    idea: "Two adapters with different learning rates chase each other along a stream of pairs.",
  },
  {
    id: "vpo",
    title: "Value-Incentivized Preference Optimization (VPO)",
    paper: "2405.19320",
    year: 2024,
    kind: "offline loss",
    idea: "Adds the value of the implied reward: optimism online, pessimism offline.",
  },
  {
    id: "upo",
    title: "Uncertainty-enhanced Preference Optimization (UPO)",
    paper: "2409.11212",
    year: 2024,
    kind: "online loop",
    idea: "Weighs self-made pairs by how sure a separate classifier is of them.",
  },
  {
    id: "step-dpo",
    title: "Step-wise DPO (Step-DPO)",
    paper: "2406.18629",
    year: 2024,
    kind: "data pipeline",
    idea: "Compares single reasoning steps: the right next one against the first wrong one.",
  },
  {
    id: "fusechat-3",
    title: "FuseChat-3.0",
    paper: "2503.04222",
    year: 2025,
    kind: "data pipeline",
    idea: "Fuses strong models into a small one with pairs whose answers come from the same source.",
    trainsWith: ["sigmoid-norm", "dpo"],
  },
  {
    id: "fspo",
    title: "Few-Shot Preference Optimization (FSPO)",
    paper: "2502.19312",
    year: 2025,
    kind: "offline loss",
    idea: "A user's labelled pairs in the prompt become a personal policy.",
    trainsWith: ["ipo"],
  },
  {
    id: "preflexor",
    title: "PRefLexOR",
    paper: "2410.12375",
    year: 2024,
    kind: "online loop",
    idea: "Thinking sections learned in two stages on self-made data, then refined in recursion.",
  },
  {
    id: "fellowship",
    title: "The Fellowship of the LLMs",
    paper: "2408.08688",
    year: 2024,
    kind: "data pipeline",
    idea: "Juries, debates and reviewer loops of models that make preference data.",
  },
  {
    id: "knowpo",
    title: "Knowledge-aware Preference Optimization (KnowPO)",
    paper: "2408.03297",
    year: 2024,
    kind: "data pipeline",
    idea: "Teaches retrieval-augmented models when to trust their context, from both kinds of error.",
    trainsWith: ["dpo"],
  },
];

const diffusion: readonly Row[] = [
  {
    id: "diffusion-dpo",
    title: "Diffusion-DPO",
    paper: "2311.12908",
    year: 2023,
    kind: "offline loss",
    idea: "DPO in which denoising errors stand for log-probabilities of images.",
  },
  {
    id: "rankdpo",
    title: "RankDPO with Syn-Pic",
    paper: "2410.18013",
    year: 2024,
    kind: "data pipeline",
    idea: "Whole ranked lists of images, labelled by a vote of reward models.",
  },
  {
    id: "step-aware-po",
    title: "Step-aware Preference Optimization (SPO)",
    paper: "2406.04314",
    year: 2024,
    kind: "online loop",
    idea: "At each denoising step the better of several branches is preferred.",
  },
  {
    id: "mapo",
    title: "Margin-aware Preference Optimization (MaPO)",
    paper: "2406.06424",
    year: 2024,
    kind: "offline loss",
    idea: "Diffusion training with a preference margin and no reference model.",
  },
  {
    id: "dcpo",
    title: "Dual Caption Preference Optimization (DCPO)",
    paper: "2502.06023",
    year: 2025,
    kind: "data pipeline",
    idea: "Gives the preferred and the rejected image captions of their own.",
  },
  {
    id: "seppo",
    title: "Semi-Policy Preference Optimization (SePPO)",
    paper: "2410.05255",
    year: 2024,
    kind: "online loop",
    idea: "Earlier checkpoints make the rival image; a test decides whether it is pushed or pulled.",
  },
];

const imageText: readonly Row[] = [
  {
    id: "mia-dpo",
    title: "Multi-Image Augmented DPO (MIA-DPO)",
    paper: "2410.17637",
    year: 2024,
    kind: "data pipeline",
    idea: "Multi-image pairs made from single-image data, chosen by where the model looks.",
  },
  {
    id: "task-po",
    title: "Task Preference Optimization (TPO)",
    paper: "2412.19326",
    year: 2024,
    kind: "multi-task system",
    idea: "Visual task heads whose dense labels act as preferences for a language model.",
  },
];

const all = (rows: readonly Row[], modality: System["modality"]): System[] =>
  rows.map((row) => ({ ...row, modality, trainsWith: row.trainsWith ?? [row.id] }));

export const systems: readonly System[] = [
  ...all(text, "text"),
  ...all(diffusion, "diffusion"),
  ...all(imageText, "image-text"),
];
