"""
TRL's side of dpo.ts: DPOTrainer on the same weights, pairs and order, reference log-probs precomputed; an epoch is a round.
Tokens of the data are words of a made-up tokenizer, so that ids go through TRL's own preparation unchanged.
"""
import argparse
import json
import os
import tempfile
import time

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["HF_DATASETS_CACHE"] = tempfile.mkdtemp()  # no reference scores of an earlier run
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"

import torch
import transformers
import trl
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.utils.data import SequentialSampler
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import DPOConfig, DPOTrainer

from worker import peak_mb, product_gflops, say, wait

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--pairs", required=True, help="JSON lines with promptIds, chosenIds, rejectedIds")
parser.add_argument("--batch", type=int, default=8, help="pairs of an update")
parser.add_argument("--micro", type=int, default=1, help="pairs at a time")
parser.add_argument("--epochs", type=int, required=True)
parser.add_argument("--rate", type=float, required=True)
parser.add_argument("--beta", type=float, required=True)
parser.add_argument("--bf16", action="store_true")
parser.add_argument("--paddingFree", action="store_true")
parser.add_argument("--threads", type=int)
options = parser.parse_args()
torch.set_num_threads(options.threads)
transformers.logging.set_verbosity_error()

with open(options.pairs) as f:
    pairs = [json.loads(line) for line in f]
with open(os.path.join(options.model, "config.json")) as f:
    size = json.load(f)["vocab_size"]
end = pairs[0]["chosenIds"][-1]
word = lambda i: "</s>" if i == end else f"<{i}>"
words = Tokenizer(models.WordLevel({word(i): i for i in range(size)}, unk_token=word(0)))
words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
special = {"eos_token": word(end), "pad_token": word(0), "unk_token": word(0)}
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **special)
text = lambda ids: " ".join(map(word, ids))
data = Dataset.from_list(
    [
        {"prompt": text(p["promptIds"]) + " ", "chosen": text(p["chosenIds"]), "rejected": text(p["rejectedIds"])}
        for p in pairs
    ]
)


class InOrder(DPOTrainer):
    def _get_train_sampler(self, *_):
        return SequentialSampler(self.train_dataset)


class Rounds(TrainerCallback):
    """Waits before each epoch and tells what it came to. What lies between its first and its last step counts."""

    def __init__(self):
        self.losses, self.started = [], 0.0

    def on_epoch_begin(self, *_, **__):
        wait()
        self.losses = []
        self.started = time.perf_counter()

    def on_log(self, args, state, control, logs=None, **_):
        if logs and "loss" in logs:
            self.losses.append(logs["loss"])

    def on_epoch_end(self, *_, **__):
        seconds = time.perf_counter() - self.started
        say({"seconds": seconds, "losses": self.losses, "peakRssMb": peak_mb(), "gemmGflops": product_gflops(torch)})


model = LlamaForCausalLM.from_pretrained(options.model, dtype=torch.float32, attn_implementation="sdpa")
config = DPOConfig(
    output_dir=tempfile.mkdtemp(),
    per_device_train_batch_size=options.micro,
    gradient_accumulation_steps=options.batch // options.micro,
    num_train_epochs=options.epochs,
    learning_rate=options.rate,
    lr_scheduler_type="constant",
    weight_decay=0.0,
    max_grad_norm=1.0,
    beta=options.beta,
    precompute_ref_log_probs=True,
    gradient_checkpointing=False,
    padding_free=options.paddingFree,
    bf16=options.bf16,
    use_cpu=True,
    logging_steps=1,
    save_strategy="no",
    report_to=[],
    disable_tqdm=True,
    dataloader_pin_memory=False,
    max_length=None,
    seed=1,
)
callback = Rounds()
trainer = InOrder(model=model, args=config, train_dataset=data, processing_class=tokenizer, callbacks=[callback])
prepared = trainer.train_dataset
for i in (0, len(pairs) - 1):
    for key in ("prompt", "chosen", "rejected"):
        if prepared[i][f"{key}_ids"] != pairs[i][f"{key}Ids"]:
            raise SystemExit(f"pair {i}: TRL made other ids of {key}")
say({"ready": True, "torch": torch.__version__, "trl": trl.__version__, "transformers": transformers.__version__})
trainer.train()
