"""Compares what prefopt says of exported models with what their own readers say: Python's transformers (a safetensors folder), peft (an
adapter on its base), llama.cpp (a GGUF file), ONNX Runtime (an ONNX folder). A check by hand; no test of prefopt needs Python.

    python3 test/python/cross_check.py --safetensors FOLDER --gguf FILE.gguf --onnx FOLDER --adapter FOLDER --base FOLDER

All of them are optional. The packages are installed into an environment of the script's own on the first call (llama-cpp-python is built
from source, some seven minutes; only where --gguf is given). For each model the same token ids go to `prefopt score` and to the other
reader; printed is the largest difference of a token's log-probability, one JSON object a line. Exit status 1 where one is above
--tolerance. Compare GGUF files as F32: of others llama.cpp also quantises the activations.
"""
import argparse, json, os, pathlib, random, subprocess, sys, tempfile, venv

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXTS = [
    "The lighthouse keeper wrote one line a day, and on stormy days two.",
    "def area(r):\n    return 3.14159 * r ** 2  # of a circle",
    "In 1969 two people walked on the moon while a third one waited above.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "Yes.",
]
PACKAGES = {"safetensors": ["torch", "transformers", "safetensors", "numpy"], "adapter": ["peft"], "gguf": ["llama-cpp-python", "numpy"], "onnx": ["onnxruntime", "numpy"]}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--safetensors", metavar="FOLDER", help="folder for transformers")
    parser.add_argument("--gguf", metavar="FILE", help="file for llama.cpp, exported as F32")
    parser.add_argument("--onnx", metavar="FOLDER", help="folder for ONNX Runtime")
    parser.add_argument("--source", metavar="MODEL", help="what --onnx was exported from: prefopt does not read ONNX")
    parser.add_argument("--adapter", metavar="FOLDER", help="PEFT adapter; needs --base")
    parser.add_argument("--base", metavar="FOLDER", help="the model that the adapter belongs to")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--environment", metavar="DIR", default=os.path.join(tempfile.gettempdir(), "prefopt-cross-check"), help="where the packages are installed")
    options = parser.parse_args()
    if options.adapter and not options.base:
        parser.error("--adapter needs --base")
    if options.onnx and not options.source:
        parser.error("--onnx needs --source")
    if not any([options.safetensors, options.gguf, options.onnx, options.adapter]):
        parser.error("nothing to compare")
    return options


def ensure_environment(options):
    """Runs the script again in its own environment, with the packages that these options need."""
    place = pathlib.Path(options.environment)
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(place, with_pip=True)
    wanted = {p for key, packages in PACKAGES.items() if getattr(options, key) for p in packages}
    if options.adapter:
        wanted.update(PACKAGES["safetensors"])
    installed = json.loads(subprocess.check_output([python, "-m", "pip", "list", "--format", "json"]))
    missing = sorted(wanted - {p["name"].lower().replace("_", "-") for p in installed})
    if missing:
        print(f"installing {', '.join(missing)} into {place}", file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *missing], check=True)
    if pathlib.Path(sys.prefix).resolve() != place.resolve():
        sys.exit(subprocess.run([python, __file__, *sys.argv[1:]]).returncode)


def prefopt(command, model, lines):
    """One JSON object for each line of input."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run(["node", str(ROOT / "bin/prefopt.js"), command, model], input=text, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def rows_for(model, vocabulary):
    """Ids of the texts, where the model has a tokenizer, and drawn ones."""
    draw = random.Random(1)
    rows = [[draw.randrange(vocabulary) for _ in range(n)] for n in (20, 7)]
    try:
        found = prefopt("tokenize", model, [{"text": t, "addSpecialTokens": True} for t in TEXTS])
        rows += [r["ids"] for r in found if len(r["ids"]) > 1]
    except SystemExit as problem:
        print(f"{model}: drawn ids only ({str(problem).strip()})", file=sys.stderr)
    return rows


def report(name, path, model, rows, theirs, tolerance):
    ours = prefopt("score", model, [{"promptIds": ids[:1], "completionIds": ids[1:]} for ids in rows])
    pairs = [(a, b) for o, t in zip(ours, theirs) for a, b in zip(o["logps"], t, strict=True)]
    worst = max(abs(a - b) for a, b in pairs)
    mean = sum(abs(a - b) for a, b in pairs) / len(pairs)
    print(json.dumps({"reader": name, "path": path, "tokens": len(pairs), "maxDifference": worst, "meanDifference": mean}))
    return worst <= tolerance  # False for NaN too


def torch_log_probs(model, ids):
    import torch

    with torch.no_grad():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0, :-1]
    return logits.double().log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()


def load_transformers(folder):
    import torch, transformers

    model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    problems = {key: sorted(map(str, names)) for key, names in info.items() if names}
    if problems:
        sys.exit(f"{folder}: {json.dumps(problems)}")
    return model.eval(), f"transformers {transformers.__version__}"


def check_safetensors(options):
    model, name = load_transformers(options.safetensors)
    rows = rows_for(options.safetensors, model.config.vocab_size)
    theirs = [torch_log_probs(model, ids) for ids in rows]
    return report(name, options.safetensors, options.safetensors, rows, theirs, options.tolerance)


def check_adapter(options):
    import peft

    model, name = load_transformers(options.base)
    rows = rows_for(options.base, model.config.vocab_size)
    plain = [torch_log_probs(model, ids) for ids in rows]
    adapted = peft.PeftModel.from_pretrained(model, options.adapter).eval()
    theirs = [torch_log_probs(adapted, ids) for ids in rows]
    moved = max(abs(a - b) for p, t in zip(plain, theirs) for a, b in zip(p, t))
    print(f"the adapter moves log-probabilities by up to {moved:.3g}", file=sys.stderr)
    return report(f"peft {peft.__version__}, {name}", options.adapter, options.adapter, rows, theirs, options.tolerance)


def check_gguf(options):
    import llama_cpp, numpy as np

    # The cache in float32: in the default float16 it is the larger error.
    llm = llama_cpp.Llama(options.gguf, logits_all=True, n_ctx=512, n_threads=2, type_k=0, type_v=0, verbose=False)
    rows = rows_for(options.gguf, llm.n_vocab())
    theirs = []
    for ids in rows:
        llm.reset()
        llm.eval(ids)
        log_probs = llama_cpp.Llama.logits_to_logprobs(np.array(llm.scores[: len(ids)], dtype=np.float64))
        theirs.append(log_probs[np.arange(len(ids) - 1), ids[1:]].tolist())
    return report(f"llama.cpp, llama-cpp-python {llama_cpp.__version__}", options.gguf, options.gguf, rows, theirs, options.tolerance)


def check_onnx(options):
    import numpy as np, onnxruntime

    session = onnxruntime.InferenceSession(str(pathlib.Path(options.onnx) / "onnx/model.onnx"))
    vocabulary = next(o.shape[2] for o in session.get_outputs() if o.name == "logits")
    rows = rows_for(options.source, vocabulary)
    columns = max(map(len, rows))
    ids = np.array([[0] * (columns - len(r)) + r for r in rows], dtype=np.int64)
    mask = np.array([[0] * (columns - len(r)) + [1] * len(r) for r in rows], dtype=np.int64)
    caches = {i.name: np.zeros((len(rows), i.shape[1], 0, i.shape[3]), np.float32) for i in session.get_inputs() if i.name.startswith("past_key_values")}
    (logits,) = session.run(["logits"], {"input_ids": ids, "attention_mask": mask, **caches})
    theirs = []
    for row, z in zip(rows, logits.astype(np.float64)):
        z = z[columns - len(row) : -1]
        z = z - z.max(-1, keepdims=True)
        theirs.append((z - np.log(np.exp(z).sum(-1, keepdims=True)))[np.arange(len(row) - 1), row[1:]].tolist())
    return report(f"onnxruntime {onnxruntime.__version__}, padded on the left", options.onnx, options.source, rows, theirs, options.tolerance)


def main():
    options = arguments()
    ensure_environment(options)
    checks = {"safetensors": check_safetensors, "adapter": check_adapter, "gguf": check_gguf, "onnx": check_onnx}
    good = [check(options) for key, check in checks.items() if getattr(options, key)]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
