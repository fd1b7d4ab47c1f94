#!/usr/bin/env python3
"""Training the default preset of `moe train` beside the same model in PyTorch: tokens per second, in turns, in one run.

The problem: a training run pays for starting, compiling and evaluating, which is not what one waits for. The choice: `moe train` itself and a PyTorch worker
start once; a turn lets one of them go on for some dozen steps while the other one is stopped, and counts only steps that lie within the turn.
Both train from scratch on the same text; the number of parameters must be the same on both sides.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compare import ROOT, Worker, write

HERE = Path(__file__).resolve().parent
VARIANTS = ("loop", "sort")
# More steps than anybody waits for.
STEPS = 100_000
PATIENCE = 300


class Training:
    """`moe train` in a run folder, which goes on only while it is asked to."""

    def __init__(self, moe: str, data: Path, preset: str, threads: int, folder: Path):
        self.moe, self.folder, self.seen = moe, folder, 0
        command = ["dotnet", moe, "train", "--data", str(data), "--preset", preset, "--steps", str(STEPS), "--out", str(folder), "--threads", str(threads)]
        self.process = subprocess.Popen([*command, "--device", "cpu", "--eval-every", "0", "--save-every", "0", "--quiet"], stdout=subprocess.DEVNULL)
        self.wait(2)
        self.process.send_signal(signal.SIGSTOP)
        self.settings = json.loads((folder / "train.json").read_text())
        self.steps_per_line = self.settings["log_every"]
        self.tokens = self.settings["batch_size"] * self.settings["model"]["max_position_embeddings"]

    def lines(self) -> list[dict]:
        path = self.folder / "metrics.jsonl"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def wait(self, more: int) -> list[dict]:
        """The next lines of the metrics."""
        end = time.monotonic() + PATIENCE
        while len(lines := self.lines()) < self.seen + more:
            if self.process.poll() is not None or time.monotonic() > end:
                code = self.process.poll()
                self.close()
                raise SystemExit(f"compare_train.py: moe train wrote no metrics (exit {code}).")
            time.sleep(0.02)
        new, self.seen = lines[self.seen :], len(lines)
        return new

    def turn(self, lines: int) -> float:
        """Tokens per second; the line that was begun before the turn does not count."""
        self.process.send_signal(signal.SIGCONT)
        counted = self.wait(lines + 1)[1:]
        self.process.send_signal(signal.SIGSTOP)
        return len(counted) / sum(1 / line["tokens_per_second"] for line in counted)

    def parameters(self) -> int:
        """Stops the run, which saves it, and counts."""
        self.process.send_signal(signal.SIGINT)
        self.process.send_signal(signal.SIGCONT)
        self.process.wait(timeout=60)
        answer = subprocess.run(["dotnet", self.moe, "inspect", str(self.folder), "--format", "json"], check=True, capture_output=True, text=True)
        return json.loads(answer.stdout)["parameters"]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def measure(options: argparse.Namespace, threads: int) -> dict:
    """Samples of all sides on some threads."""
    samples: dict[str, list[float]] = {name: [] for name in ("moesharp", *VARIANTS)}
    with tempfile.TemporaryDirectory() as scratch:
        ours = Training(options.moe, options.data, options.preset, threads, Path(scratch) / "run")
        torch = None
        try:
            torch = Worker("PyTorch", [options.python, str(HERE / "train_torch.py")], threads)
            about = torch.ask(cmd="case", threads=threads, run=str(ours.folder), data=str(options.data), variants=VARIANTS)
            for variant in VARIANTS:
                torch.ask(cmd="run", variant=variant, steps=ours.steps_per_line)
            steps = options.lines * ours.steps_per_line
            for index in range(options.rounds):
                samples["moesharp"].append(ours.turn(options.lines))
                for variant in VARIANTS:
                    seconds = torch.ask(cmd="run", variant=variant, steps=steps)["seconds"]
                    samples[variant].append(ours.tokens * steps / seconds)
                print(f"{threads} threads, round {index + 1}: " + ", ".join(f"{name} {values[-1]:.0f}" for name, values in samples.items()) + " tokens/s", file=sys.stderr, flush=True)
            parameters = ours.parameters()
        finally:
            ours.close()
            if torch:
                torch.close()
    if about["parameters"] != parameters:
        raise SystemExit(f"compare_train.py: {about['parameters']} parameters in PyTorch, {parameters} in MoeSharp")
    return {"samples": samples, "parameters": parameters, "version": torch.about["name"], "tokens": ours.tokens, "steps": steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="a Python that imports torch")
    parser.add_argument("--moe", default=str(ROOT / ".artifacts/bin/MoeSharp.Cli/release/moe.dll"), help="the built moe.dll")
    parser.add_argument("--data", type=Path, default=ROOT / "src")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--lines", type=int, default=3, help="lines of the metrics per turn, 10 steps each in the default preset")
    parser.add_argument("--out", type=Path, help="folder for train.md; printed when left out")
    options = parser.parse_args()
    rows = []
    for threads in options.threads:
        found = measure(options, threads)
        samples = found["samples"]
        medians = {name: statistics.median(values) for name, values in samples.items()}
        best = max(VARIANTS, key=lambda name: medians[name])
        ratio = statistics.median(a / b for a, b in zip(samples["moesharp"], samples[best]))
        cells = [f"**{medians['moesharp']:.0f}**", *(f"{medians[variant]:.0f}" for variant in VARIANTS), f"**{ratio:.2f}** ({best})"]
        rows.append(f"| {threads} | " + " | ".join(cells) + " |")
    cpu = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "unknown processor")
    text = "\n".join([
        f"# Training the preset {options.preset}: MoeSharp beside PyTorch", "",
        "`python3 bench/peers/cpu/compare_train.py " + " ".join(sys.argv[1:]) + "`", "",
        f"{cpu}; {found['version']} (eager, fused AdamW); `moe train`; fp32, {found['parameters']} parameters on both sides, {found['tokens']} tokens per step.",
        f"Tokens per second of optimizer steps, medians of {options.rounds} rounds in which the sides take turns of {found['steps']} steps; ratio: median over rounds, to the faster variant.", "",
        "| threads | MoeSharp | " + " | ".join(f"PyTorch, {variant}" for variant in VARIANTS) + " | ratio |", "|---" * (3 + len(VARIANTS)) + "|", *rows, ""])
    if options.out:
        write(options.out / "train.md", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
