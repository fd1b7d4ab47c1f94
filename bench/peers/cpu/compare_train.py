#!/usr/bin/env python3
"""Training the default preset of `moe train` beside the same model in PyTorch: tokens per second, in turns, in one run.

Every round trains each side for the same number of steps from fresh weights on the same text and drops the first steps; the ratio is the
median over rounds. The number of parameters must be the same on both sides.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from compare import ROOT, write

HERE = Path(__file__).resolve().parent


def ours(options: argparse.Namespace, folder: Path, threads: int, steps: int) -> tuple[float, int]:
    """Tokens per second of the steps that count, and the number of parameters."""
    command = ["dotnet", options.moe, "train", "--data", str(options.data), "--steps", str(steps), "--out", str(folder), "--threads", str(threads)]
    subprocess.run([*command, "--device", "cpu", "--dtype", options.dtype, "--eval-every", "0", "--save-every", "0", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    train = json.loads((folder / "train.json").read_text())
    per_step = train["batch_size"] * train["model"]["max_position_embeddings"]
    # A line covers the steps since the line before it.
    times, last = 0.0, 0
    for line in (line for line in lines if line["kind"] == "train"):
        if line["step"] > options.skip:
            times += (line["step"] - last) * per_step / line["tokens_per_second"]
        last = line["step"]
    counted = sum(1 for line in lines if line["kind"] == "train" and line["step"] > options.skip)
    assert counted == steps - options.skip, f"metrics.jsonl has a line for {counted} of {steps - options.skip} steps"
    shapes = json.loads(subprocess.run(
        ["dotnet", options.moe, "inspect", str(folder), "--format", "json"], check=True, capture_output=True, text=True).stdout)
    return counted * per_step / times, shapes["parameters"]


def theirs(options: argparse.Namespace, folder: Path, threads: int, steps: int, variant: str) -> dict:
    command = [options.python, str(HERE / "train_torch.py"), "--run", str(folder), "--data", str(options.data), "--variant", variant]
    done = subprocess.run(
        [*command, "--threads", str(threads), "--steps", str(steps), "--skip", str(options.skip)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="a Python that imports torch")
    parser.add_argument("--moe", default=str(ROOT / ".artifacts/bin/MoeSharp.Cli/release/moe.dll"), help="the built moe.dll")
    parser.add_argument("--data", type=Path, default=ROOT / "src")
    parser.add_argument("--dtype", default="fp32", choices=["fp32"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--skip", type=int, default=10)
    parser.add_argument("--out", type=Path, help="folder for training.md; printed when left out")
    options = parser.parse_args()
    rows, version, parameters = [], "", 0
    for threads in options.threads:
        samples: dict[str, list[float]] = {"moesharp": [], "loop": [], "sort": []}
        for index in range(options.rounds):
            with tempfile.TemporaryDirectory() as folder:
                rate, parameters = ours(options, Path(folder) / "run", threads, options.steps)
                samples["moesharp"].append(rate)
                for variant in ("loop", "sort"):
                    answer = theirs(options, Path(folder) / "run", threads, options.steps, variant)
                    samples[variant].append(answer["tokens_per_second"])
                    version = answer["version"]
                    if answer["parameters"] != parameters:
                        raise SystemExit(f"compare_train.py: {answer['parameters']} parameters in PyTorch, {parameters} in MoeSharp")
            print(f"{threads} threads, round {index + 1}: " + ", ".join(f"{name} {times[-1]:.0f}" for name, times in samples.items()), file=sys.stderr)
        medians = {name: statistics.median(values) for name, values in samples.items()}
        best = max(("loop", "sort"), key=lambda name: medians[name])
        ratio = statistics.median(a / b for a, b in zip(samples["moesharp"], samples[best]))
        rows.append(f"| {threads} | **{medians['moesharp']:.0f}** | {medians['loop']:.0f} | {medians['sort']:.0f} | **{ratio:.2f}** ({best}) |")
    text = "\n".join([
        "# Training the default preset: MoeSharp beside PyTorch", "",
        "`python3 bench/peers/cpu/compare_train.py " + " ".join(sys.argv[1:]) + "`", "",
        f"Tokens per second of optimizer steps (1024 tokens each), fp32, {parameters} parameters on both sides, PyTorch {version}; medians of {options.rounds} rounds of",
        f"{options.steps} steps in turns, the first {options.skip} dropped.", "",
        "| threads | MoeSharp | PyTorch, loop | PyTorch, sort | ratio |", "|---|---|---|---|---|", *rows, ""])
    if options.out:
        write(options.out / "training.md", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
