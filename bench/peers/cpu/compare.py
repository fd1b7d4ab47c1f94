#!/usr/bin/env python3
"""MoeSharp beside PyTorch and ggml on the same MoE layers, in one run: medians, ratios, share of the machine's own rates; one table and one picture.

The problem: on a shared machine two measurements a minute apart may differ by half. The difficulty: no side can be trusted to run alone, a wrong
result is fast, and one call of the largest layer takes seconds. The choices: one worker process per side, asked in turn, stopped while
another one runs and warmed up before it is timed; seven rounds or more per case, the machine's rates measured beside every sample; ratios are medians over rounds; before anything is
timed all sides must agree on outputs and gradients. Every way of writing the layer in PyTorch is tried once on the most threads at rho = 1; the fastest
ones take part in the rounds there and in all cases of that layer, type and direction. Large cases below rho = 1 leave the peers out (--case-seconds). Finished cases are kept in a file of raw samples with the build they
belong to and are not measured again, so a run that was stopped goes on.
"""

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from layer_report import TORCH, figures, picture, table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SHAPES = {
    "A": {"T": 512, "d": 512, "n": 1024, "E": 8, "K": 2},
    "B": {"T": 1024, "d": 1024, "n": 512, "E": 32, "K": 4},
    "C": {"T": 2048, "d": 2048, "n": 1024, "E": 64, "K": 8},
    "tiny": {"T": 64, "d": 64, "n": 48, "E": 4, "K": 2},
}
# How far two roundings of the same sums may lie apart, in units of the result's root mean square: some dozens of the type's unit roundoffs.
AGREEMENT = {"fp32": 2e-4, "bf16": 0.12}
# A variant takes part in the rounds when one call of it took at most this much longer than the fastest one.
CLOSE = 1.15
# GFLOP/s per thread that the estimate of a run's duration assumes, and GB/s of weights.
ASSUMED = {"fp32": {"moesharp": 70, "torch": 35, "ggml": 30}, "bf16": {"moesharp": 130, "torch": 60, "ggml": 40}}
ASSUMED_BANDWIDTH = 10
LEAST_SAMPLE = 0.05
# Seconds that a side computes unmeasured before a sample: a process that was stopped finds its threads together on one processor for a while.
WARM = 0.04


class Worker:
    """A process that answers a line of JSON with a line of JSON. Threads that wait for work spin; so it is stopped while it is not asked."""

    def __init__(self, name: str, command: list[str], threads: int):
        self.name = name
        # Peers allocate results anew in every call; a C library that gives memory back each time would charge them for page faults.
        keep = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 30)}
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads), **keep)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.about = self.ask(cmd="hello")

    def ask(self, **request) -> dict:
        assert self.process.stdin and self.process.stdout
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"compare.py: {' '.join(map(str, self.process.args))} ended with {self.process.wait()} at {request}")
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            try:
                self.process.stdin.write('{"cmd": "quit"}\n')
                self.process.stdin.close()
                self.process.wait(timeout=60)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                self.process.kill()
                self.process.wait()


def cases(options: argparse.Namespace) -> list[dict]:
    """Every combination that was asked for. Cases with equal weights follow each other: making weights takes longer than many a case."""
    found = []
    for dtype in options.dtypes:
        for shape in options.shapes:
            sizes = SHAPES[shape]
            for threads in sorted(options.threads, reverse=True):
                for rho in sorted(options.rhos, reverse=True):
                    for tokens in [sizes["T"], *([1, 8] if options.decode and rho == 1 else [])]:
                        for backward in ([False, True] if tokens == sizes["T"] and options.backward else [False]):
                            name = f"{shape} {'fwd+bwd' if backward else 'forward'}" if tokens == sizes["T"] else f"{shape} decode T={tokens}"
                            found.append({
                                "name": name, "shape": shape, "dtype": dtype, "rho": rho, "threads": threads, "backward": backward,
                                "decode": tokens != sizes["T"], **sizes, "T": tokens,
                            })
    return found


def guess(case: dict, side: str) -> float:
    """Seconds that one call of a side takes, roughly."""
    rows = case["rho"] * case["T"] * case["K"]
    flops = 6.0 * rows * case["d"] * case["n"] * (3 if case["backward"] else 1)
    weights = min(rows, case["E"]) * 3 * case["d"] * case["n"] * (2 if case["dtype"] == "bf16" else 4)
    return max(flops / (ASSUMED[case["dtype"]][side] * 1e9 * case["threads"]), weights / ASSUMED_BANDWIDTH / 1e9)


def takes_part(case: dict, side: str, options: argparse.Namespace) -> bool:
    """Whether a peer is measured: ggml has no null slots and no backward; large cases below rho = 1, and ggml's whole batches, only where there is time."""
    if side == "ggml" and (case["backward"] or case["rho"] != 1):
        return False
    must = case["rho"] == 1 and (side == "torch" or case["decode"])
    return must or guess(case, side) * options.rounds <= options.case_seconds


def alike(case: dict) -> tuple:
    """Cases in which the same way of writing the layer is taken for the fastest one."""
    return case["name"], case["dtype"]


def estimate(case: dict, sides: list[str], options: argparse.Namespace) -> float:
    """Seconds that a case takes, roughly."""
    first = case["rho"] == max(options.rhos) and case["threads"] == max(options.threads)
    total = 0.2 + 0.05 * options.rounds
    for side in sides:
        call = guess(case, side)
        if side == "moesharp" or takes_part(case, side, options):
            total += options.rounds * (max(call, LEAST_SAMPLE) + 2 * WARM) + call * (4 if side == "torch" and first else 1)
    return total


def check(what: str, dtype: str, ours: dict, theirs: dict) -> float:
    """Largest difference in units of the result's root mean square."""
    worst = 0.0
    for result, mine in ours.items():
        other = theirs[result]
        difference = max(abs(a - b) for a, b in zip(mine, other, strict=True)) / max(mine[0], 1e-30)
        worst = max(worst, difference)
        if not difference <= AGREEMENT[dtype]:
            raise SystemExit(f"compare.py: {what}: {result} differs by {difference:.3g} of its root mean square; allowed is {AGREEMENT[dtype]}.")
    return worst


def measure(case: dict, workers: dict[str, Worker], fast: list[str] | None, options: argparse.Namespace) -> dict:
    """All samples of a case, sides taking turns, the machine's rates before every sample; of PyTorch the variants that are known as fast, or those that turn out to be."""
    ours, backward, threads = workers["moesharp"], case["backward"], case["threads"]
    about = ours.ask(cmd="case", **case)
    mine = ours.ask(cmd="sample", variant="moesharp", backward=backward)
    result = {"rows": about["rows"], "experts": about["experts"], "isa": about["isa"], "samples": {}, "fma": {}, "rates": [], "once": {}, "difference": {}}
    turns = [(ours, "moesharp", mine["seconds"])]
    for side, worker in workers.items():
        if worker is ours or not takes_part(case, side, options):
            continue
        first = {}
        variants = worker.ask(cmd="case", **case)["variants"]
        for variant in [v for v in variants if v in fast] if fast and side == "torch" else variants:
            theirs = worker.ask(cmd="sample", variant=variant, backward=backward)
            what = f"{case['name']} {case['dtype']} rho={case['rho']:g} {variant}"
            result["difference"][variant] = check(what, case["dtype"], mine["results"], theirs["results"])
            # A first call pays for memory and caches that later ones find; a short one is called again.
            first[variant] = theirs["seconds"] if theirs["seconds"] > 1 else worker.ask(cmd="run", variant=variant, backward=backward, repeats=2)["seconds"]
        result["once"].update(first)
        turns += [(worker, variant, seconds) for variant, seconds in first.items() if fast or seconds <= CLOSE * min(first.values())]

    def run(worker: Worker, variant: str, repeats: int, warm: int = 0) -> float:
        if warm:
            worker.ask(cmd="run", variant=variant, backward=backward, repeats=warm)
        return worker.ask(cmd="run", variant=variant, backward=backward, repeats=repeats)["seconds"]

    plan = []
    for worker, variant, seconds in turns:
        # A short sample is drowned by the clock and by waking threads, so it repeats the call. A long one warms itself up.
        if seconds < 1:
            seconds = min(seconds, run(worker, variant, max(1, min(20, int(0.02 / max(1e-6, seconds))))))
        repeats = max(1, min(500, int(LEAST_SAMPLE / max(1e-6, seconds))))
        plan.append((worker, variant, repeats, math.ceil(WARM / max(1e-6, seconds)) if seconds < 10 * WARM else 0))
    for _ in range(options.rounds):
        for index, (worker, variant, repeats, warm) in enumerate(plan):
            rates = ours.ask(cmd="rates", threads=threads, all=index == 0)
            if index == 0:
                result["rates"].append(rates)
            result["fma"].setdefault(variant, []).append(rates["fma"])
            result["samples"].setdefault(variant, []).append(run(worker, variant, repeats, warm))
    return result


def build_ggml(folder: Path, into: Path) -> list[str]:
    """Builds moe_ggml.cpp against a ggml that is on the machine: a folder with its headers and shared libraries anywhere below."""
    headers = sorted(folder.rglob("ggml-cpu.h"))
    headers = [header for header in headers if header.parent.name == "include"]
    libraries = {name: sorted(folder.rglob(f"lib{name}.so")) for name in ("ggml", "ggml-cpu", "ggml-base")}
    if not headers or not all(libraries.values()):
        raise SystemExit(f"compare.py: {folder} holds no built ggml: needed are include/ggml-cpu.h and {', '.join(f'lib{name}.so' for name in libraries)}.")
    program = into / "moe_ggml"
    paths = dict.fromkeys(str(found[0].parent) for found in libraries.values())
    subprocess.run(
        ["g++", "-std=c++17", "-O2", f"-I{headers[0].parent}", str(HERE / "moe_ggml.cpp"), "-o", str(program)]
        + [f"-L{path}" for path in paths] + [f"-Wl,-rpath,{path}" for path in paths] + ["-lggml", "-lggml-cpu", "-lggml-base"], check=True)
    return [str(program)]


def write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(path.suffix + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def read(raw: Path | None) -> dict[str, dict]:
    """Finished cases by key; a line that a kill cut off does not count."""
    found = {}
    for line in raw.read_text().splitlines() if raw and raw.exists() else []:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[entry["key"]] = entry
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", help="a Python that imports torch; without it there is no PyTorch side")
    parser.add_argument("--ggml", type=Path, help="folder with a built ggml, or llama.cpp: headers and shared libraries; without it there is no ggml side")
    parser.add_argument("--shapes", nargs="+", default=["A", "B", "C"], choices=SHAPES)
    parser.add_argument("--dtypes", nargs="+", default=["fp32", "bf16"], choices=AGREEMENT)
    parser.add_argument("--rhos", nargs="+", type=float, default=[1.0, 0.5, 0.25])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--case-seconds", type=float, default=10, help="peers below rho = 1, and ggml's whole batches, are left out where their rounds would take longer")
    parser.add_argument("--no-backward", dest="backward", action="store_false")
    parser.add_argument("--no-decode", dest="decode", action="store_false")
    parser.add_argument("--worker", default=str(ROOT / ".artifacts/bin/MoeSharp.Bench/release/MoeSharp.Bench.dll"), help="the built MoeSharp.Bench.dll")
    parser.add_argument("--out", type=Path, help="folder for moe-layer.md, .svg and the raw samples; printed when left out")
    parser.add_argument("--plan", action="store_true", help="print the cases and how long they take, and stop")
    parser.add_argument("--quick", action="store_true", help="one tiny layer, two rounds: does everything work?")
    options = parser.parse_args()
    if options.quick:
        options.shapes, options.rhos, options.threads, options.rounds = ["tiny"], [1.0, 0.5], [1], 2
    return options


def main() -> None:
    options = parse()
    sides = ["moesharp", *(["torch"] if options.python else []), *(["ggml"] if options.ggml else [])]
    todo = cases(options)
    seconds = [estimate(case, sides, options) for case in todo]
    # Making the weights: a few nanoseconds per number and side, once per type and shape.
    makes = sum(3.0 * SHAPES[s]["E"] * SHAPES[s]["d"] * SHAPES[s]["n"] * 3e-8 * len(sides) for s in options.shapes) * len(options.dtypes)
    print(f"{len(todo)} cases, sides {', '.join(sides)}: about {(sum(seconds) + makes) / 60:.0f} minutes on a machine of its own", file=sys.stderr)
    if options.plan:
        for case, expected in zip(todo, seconds):
            part = [side for side in sides if side == "moesharp" or takes_part(case, side, options)]
            print(f"{case['name']} {case['dtype']} rho={case['rho']:g} threads={case['threads']}: {expected:.1f} s, {', '.join(part)}")
        return
    raw = options.out / "moe-layer.jsonl" if options.out else None
    done, rows, workers, fast = read(raw), [], {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        try:
            most = max(options.threads)
            workers["moesharp"] = Worker("MoeSharp", ["dotnet", options.worker, "worker"], most)
            if options.python:
                workers["torch"] = Worker("PyTorch", [options.python, str(HERE / "moe_torch.py")], most)
            if options.ggml:
                workers["ggml"] = Worker("ggml", build_ggml(options.ggml, Path(scratch)), most)
            about = {
                "command": "python3 bench/peers/cpu/compare.py " + " ".join(sys.argv[1:]), "rounds": options.rounds, "cpu": workers["moesharp"].about["cpu"],
                "sides": [worker.about["name"] for worker in workers.values()], "shapes": {s: SHAPES[s] for s in options.shapes}, "case_seconds": options.case_seconds,
            }
            build = " ".join([workers["moesharp"].about["build"], *about["sides"]])
            start, spent = time.monotonic(), 0.0
            for index, case in enumerate(todo):
                began = time.monotonic()
                key = f"{case['name']} {case['dtype']} rho={case['rho']:g} threads={case['threads']} rounds={options.rounds} {build}"
                if key not in done:
                    done[key] = {"key": key, "result": measure(case, workers, fast.get(alike(case)), options)}
                    if raw:
                        raw.parent.mkdir(parents=True, exist_ok=True)
                        with raw.open("a") as file:
                            file.write(json.dumps(done[key]) + "\n")
                    spent += seconds[index]
                fast.setdefault(alike(case), [name for name in done[key]["result"]["samples"] if name in TORCH] or None)
                rows.append(figures(case, done[key]["result"]))
                pace = (time.monotonic() - start) / spent if spent else 1
                print(f"[{index + 1}/{len(todo)}] {rows[-1]['line']}; {time.monotonic() - began:.1f} s, about {pace * sum(seconds[index + 1:]) / 60:.1f} minutes left", file=sys.stderr, flush=True)
        finally:
            for worker in workers.values():
                worker.close()
    if options.out:
        write(options.out / "moe-layer.md", table(rows, about))
        write(options.out / "moe-layer.svg", picture(rows))
    else:
        print(table(rows, about))


if __name__ == "__main__":
    main()
