"""Reads model folders with Python's transformers and prints what they make of given tokens: a check by hand that what
prefopt writes loads there as it is and means the same. No test of prefopt needs Python.

    python3 -m venv peer && peer/bin/pip install torch transformers safetensors numpy
    peer/bin/python test/python/check_run.py --base BASE --model RUN/model --prompts rows.jsonl > peer.json
    npx prefopt score RUN/model < rows.jsonl      # the same rows; its "logps" must equal "model" of each row to about 1e-4

rows.jsonl has {"promptIds": [...], "completionIds": [...]} a line. Output: {"madeWith", "base", "model", "rows"}; each row
has log p of every completion token under both, computed alone in float32 without a cache, and their sums. Exit status 1
where a folder lacks weights or has weights that transformers does not know.
"""
import argparse, copy, json, sys, torch, transformers
from transformers import AutoModelForCausalLM


def load(folder):
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    problems = {key: sorted(map(str, names)) for key, names in info.items() if names}
    if problems:
        sys.exit(f"{folder}: {json.dumps(problems)}")
    return model.eval()


def rows_of(path):
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        if not line.strip():
            continue
        row = json.loads(line)
        if not row.get("promptIds") or not row.get("completionIds"):
            sys.exit(f"{path}:{number}: promptIds and completionIds are both needed")
        yield row["promptIds"], row["completionIds"]


@torch.no_grad()
def log_probs(model, prompt, completion):
    # Dynamic scaling remembers the longest row it has met: such a model reads every row afresh.
    if (getattr(model.config, "rope_parameters", None) or {}).get("rope_type") == "dynamic":
        model = copy.deepcopy(model)
    ids = torch.tensor([[*prompt, *completion]])
    logp = model(ids, use_cache=False).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    return logp.gather(1, ids[0, len(prompt) :, None])[:, 0].tolist()


def described(folder, model):
    return {"folder": folder, "architecture": type(model).__name__, "parameters": model.num_parameters()}


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for option, meaning in {"base": "model before training", "model": "model after training", "prompts": "rows as JSONL"}.items():
    parser.add_argument(f"--{option}", required=True, help=meaning)
args = parser.parse_args()

models = {"base": load(args.base), "model": load(args.model)}
rows = []
for prompt, completion in rows_of(args.prompts):
    logps = {name: log_probs(model, prompt, completion) for name, model in models.items()}
    rows.append({**logps, "sums": {name: sum(values) for name, values in logps.items()}})
print(json.dumps({
    "madeWith": f"transformers {transformers.__version__}, torch {torch.__version__}",
    **{name: described(getattr(args, name), model) for name, model in models.items()},
    "rows": rows,
}))
