/**
 * Where each objective is described: full name, source, and its page below docs/methods/. A system has a page of its own name; an
 * objective without a system, or beside one, has a page or a section (`## \`id\``) of a page. Objectives of one's own have none.
 */

export interface ObjectivePage {
  /** Full name, with the acronym that its paper uses. */
  readonly title: string;
  /** arXiv number of its source; undefined where none is its own. */
  readonly paper?: string;
  /** Page below docs/methods/, without its ending. */
  readonly page: string;
  /** Whether it has a section of its own in that page, or all of the page. */
  readonly section?: boolean;
  /** The page whose table lists its options, where that is another one. */
  readonly options?: string;
}

/** A loss of the DPO family: a section of one page, with the options of dpo. */
const pairLoss = (title: string, paper: string): ObjectivePage => ({
  title,
  paper,
  page: "dpo-family",
  section: true,
  options: "dpo",
});
const own = (page: string, title: string, paper?: string): ObjectivePage => ({ title, paper, page });
const sectionOf = (page: string, title: string, paper?: string): ObjectivePage => ({
  title,
  paper,
  page,
  section: true,
});

/** Objectives in the order of the documentation. */
export const objectivePages: Readonly<Record<string, ObjectivePage>> = {
  dpo: own("dpo", "Direct Preference Optimization (DPO)", "2305.18290"),
  hinge: pairLoss("Normalised hinge (SLiC-HF)", "2305.10425"),
  ipo: pairLoss("Identity Preference Optimization (IPO)", "2310.12036"),
  "exo-pair": pairLoss("Efficient Exact Optimization (EXO) on pairs", "2402.00856"),
  "nca-pair": pairLoss("Noise Contrastive Alignment (NCA) on pairs", "2402.05369"),
  robust: pairLoss("Robust DPO (rDPO)", "2403.00409"),
  "bco-pair": pairLoss("Binary Classifier Optimization (BCO) on pairs", "2404.04656"),
  "sppo-hard": pairLoss("Self-Play Preference Optimization with hard labels", "2405.00675"),
  aot: pairLoss("Alignment via Optimal Transport (AOT)", "2406.05882"),
  "aot-unpaired": pairLoss("Alignment via Optimal Transport, unpaired", "2406.05882"),
  "apo-zero": pairLoss("Anchored Preference Optimization, zero (APO-zero)", "2408.06266"),
  "apo-down": pairLoss("Anchored Preference Optimization, down (APO-down)", "2408.06266"),
  discopop: pairLoss("Discovered Preference Optimization (DiscoPOP)", "2406.08414"),
  "sigmoid-norm": pairLoss("Length-normalised DPO", "2411.15124"),
  "kto-pair": pairLoss("KTO on pairs", "2402.01306"),
  "f-dpo": { ...own("f-dpo", "DPO with general f-divergences (f-DPO)", "2309.16240"), options: "dpo" },
  tdpo: own("tdpo", "Token-level DPO (TDPO1, TDPO2)", "2404.11999"),
  "step-dpo": own("step-dpo", "Step-wise DPO (Step-DPO)", "2406.18629"),
  rso: own("rso", "Losses of Statistical Rejection Sampling Optimization (RSO)", "2309.06657"),
  simpo: own("simpo", "Simple Preference Optimization (SimPO)", "2405.14734"),
  alphapo: own("alphapo", "AlphaPO", "2501.03884"),
  cpo: own("cpo", "Contrastive Preference Optimization (CPO)", "2401.08417"),
  orpo: own("orpo", "Odds Ratio Preference Optimization (ORPO)", "2403.07691"),
  "triple-po": own("triple-po", "Triple Preference Optimization (TPO, TPO-L)", "2405.16681"),
  sft: sectionOf("likelihood", "Supervised fine-tuning (SFT)"),
  unlikelihood: sectionOf("likelihood", "Unlikelihood", "1908.04319"),
  kto: sectionOf("kto", "Kahneman-Tversky Optimization (KTO)", "2402.01306"),
  "apo-zero-unpaired": sectionOf("kto", "APO-zero on single completions", "2408.06266"),
  bco: sectionOf("kto", "Binary Classifier Optimization (BCO)", "2404.04656"),
  lipo: sectionOf("lipo", "Listwise Preference Optimization (LiPO-λ)", "2402.01878"),
  "plackett-luce": sectionOf("lipo", "DPO on whole rankings (Plackett-Luce)", "2305.18290"),
  npo: own("npo", "Negative Preference Optimization (NPO)", "2404.05868"),
  simnpo: own("npo", "SimNPO", "2410.07163"),
  "gradient-ascent": own("npo", "Gradient ascent", "2404.05868"),
  "gradient-difference": own("npo", "Gradient difference (GradDiff)", "2404.05868"),
  idk: own("npo", "Learning a refusal (IDK)", "2404.05868"),
  "self-improving-po": own(
    "self-improving-po",
    "Self-Improving Robust Preference Optimization (SRPO)",
    "2406.01660",
  ),
  "self-supervised-po": own(
    "self-supervised-po",
    "Self-supervised Preference Optimization (SPO)",
    "2409.17791",
  ),
  "t-reg": own("t-reg", "Token-level Reward Regularization (T-REG)", "2412.02685"),
  dove: own("dove", "Joint preferences over instruction and response (DOVE)", "2404.00530"),
  "rationale-po": own("rationale-po", "Preference optimization with rationales (RDPO)", "2407.14477"),
  xpo: own("xpo", "Exploratory Preference Optimization (XPO)", "2405.21046"),
  sppo: own("sppo", "Self-Play Preference Optimization (SPPO)", "2405.00675"),
  vpo: own("vpo", "Value-Incentivized Preference Optimization (VPO)", "2405.19320"),
  upo: own("upo", "Uncertainty-enhanced Preference Optimization (UPO)", "2409.11212"),
  "ofs-dpo": own("ofs-dpo", "Online Fast-Slow chasing DPO (OFS-DPO)", "2406.05534"),
  preflexor: own("preflexor", "Losses of PRefLexOR", "2410.12375"),
  reward: own("reward", "Reward model (Bradley-Terry)", "2305.18290"),
};

/** Text systems whose page is no objective's: they train with objectives of other names, or with none. */
const otherSystems = ["accelerated-po", "fusechat-3", "fspo", "knowpo", "ches"];

/** The page of a system below docs/methods/; undefined where it has none yet. */
export function pageOfSystem(id: string): string | undefined {
  if (otherSystems.includes(id)) return id;
  return Object.hasOwn(objectivePages, id) ? objectivePages[id].page : undefined;
}

/** All pages below docs/methods/, without their endings. */
export const pages: readonly string[] = [
  ...new Set([...Object.values(objectivePages).map((p) => p.page), ...otherSystems]),
];

/** A page's file, below the package. */
export const pageFile = (page: string): string => `docs/methods/${page}.md`;

/** A page's part about an objective, as a link from beside it. */
export function linkOf(id: string): string {
  const { page, section } = objectivePages[id];
  return section ? `${page}.md#${id}` : `${page}.md`;
}
