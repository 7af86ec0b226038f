"""The Python side of rounds.ts: says when it is ready, waits for `go`, and prints what a round came to as a line of JSON."""
import json
import sys


def say(line):
    print(json.dumps(line), flush=True)


def wait():
    """Until the next `go`; leaves the program when there is none."""
    for line in sys.stdin:
        if line.strip() == "go":
            return
    sys.exit(0)


def peak_mb():
    """The most memory that this process held at once, in MB."""
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024)
    return None


def product_gflops(torch, n=1024, repeats=10):
    """MatMul of 1024³ in float32: the median rate."""
    import time

    a, b = torch.rand(n, n), torch.rand(n, n)
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        torch.matmul(a, b)
        times.append(time.perf_counter() - start)
    return 2 * n**3 / sorted(times[2:])[repeats // 2] / 1e9
