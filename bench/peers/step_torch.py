"""PyTorch's side of step.ts: forward and all gradients of the same Llama on the same tokens, a round of several steps."""
import argparse
import time

import torch
from transformers import LlamaForCausalLM

from worker import peak_mb, product_gflops, say, wait

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--rows", type=int)
parser.add_argument("--time", type=int)
parser.add_argument("--ids", required=True, help="file of int64: the tokens, then the targets")
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--threads", type=int)
options = parser.parse_args()
torch.set_num_threads(options.threads)

model = LlamaForCausalLM.from_pretrained(options.model, dtype=torch.float32, attn_implementation="sdpa")
model.train()
with open(options.ids, "rb") as f:
    numbers = torch.frombuffer(bytearray(f.read()), dtype=torch.int64)
n = options.rows * options.time
ids, targets = numbers[:n].view(options.rows, options.time), numbers[n:]


def step():
    model.zero_grad(set_to_none=False)
    logits = model(input_ids=ids, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits.view(n, -1), targets)
    loss.backward()
    return loss.item()


loss = step()
step()
say({"ready": True, "torch": torch.__version__})
while True:
    wait()
    times, cpu = [], []
    for _ in range(options.steps):
        start, used = time.perf_counter(), time.process_time()
        step()
        times.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    norm = sum((p.grad.double() ** 2).sum() for p in model.parameters()).sqrt().item()
    say({"seconds": times, "cpuSeconds": cpu, "gemmGflops": product_gflops(torch), "loss": loss, "gradNorm": norm, "peakRssMb": peak_mb()})
