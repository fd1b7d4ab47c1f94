#!/usr/bin/env python3
"""MoeSharp beside PyTorch on the same MoE layers, in one run: medians, ratios, share of the machine's own rates; one table and one picture.

The problem: on a shared machine two measurements a minute apart may differ by half. The difficulty: neither side can be trusted to run alone,
and a wrong result is fast. The choice: one worker process per side, asked in turn and stopped while the other one runs, several rounds per case, the machine's rate measured in
every round; ratios are medians over rounds; before anything is timed both sides must agree on outputs and gradients. Finished cases are kept
in a file of raw samples and not measured again, so a run that was stopped goes on.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
from pathlib import Path

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
VARIANTS = ("loop", "sort", "bmm", "gmm")


class Worker:
    """A process that answers a line of JSON with a line of JSON."""

    def __init__(self, command: list[str], threads: int):
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.about = self.ask(cmd="hello", threads=threads)

    def ask(self, **request) -> dict:
        """Threads that wait for work spin; so a side runs only while it is asked, and is stopped otherwise."""
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
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write('{"cmd": "quit"}\n')
        self.process.stdin.close()
        self.process.wait(timeout=60)


def cases(options: argparse.Namespace) -> list[dict]:
    """Every combination that was asked for, decoding after whole batches."""
    found = []
    for dtype in options.dtypes:
        for shape in options.shapes:
            sizes = SHAPES[shape]
            for rho in options.rhos:
                for tokens in [sizes["T"], *([1, 8] if options.decode and rho == 1 else [])]:
                    for backward in ([False, True] if tokens == sizes["T"] and options.backward else [False]):
                        name = f"{shape} {'fwd+bwd' if backward else 'forward'}" if tokens == sizes["T"] else f"{shape} decode T={tokens}"
                        found.append({"name": name, "shape": shape, "dtype": dtype, "rho": rho, "backward": backward, **sizes, "T": tokens})
    return found


def check(name: str, dtype: str, ours: dict, theirs: dict) -> float:
    """Largest difference in units of the result's root mean square."""
    worst = 0.0
    for result, mine in ours.items():
        other = theirs[result]
        difference = max(abs(a - b) for a, b in zip(mine, other, strict=True)) / max(mine[0], 1e-30)
        worst = max(worst, difference)
        if not difference <= AGREEMENT[dtype]:
            raise SystemExit(f"compare.py: {name}: {result} differs by {difference:.3g} of its root mean square; allowed is {AGREEMENT[dtype]}.")
    return worst


def measure(case: dict, rounds: int, ours: Worker, torch: Worker | None) -> dict:
    """All samples of a case, sides taking turns."""
    about = ours.ask(cmd="case", **case)
    result = {"rows": about["rows"], "experts": about["experts"], "isa": about["isa"], "samples": {"moesharp": []}, "rates": [], "difference": {}}
    variants = []
    if torch:
        variants = torch.ask(cmd="case", **case)["variants"]
        mine = ours.ask(cmd="sample", backward=case["backward"])
        for variant in variants:
            theirs = torch.ask(cmd="sample", variant=variant, backward=case["backward"])
            result["difference"][variant] = check(f"{case['name']} {case['dtype']} {variant}", case["dtype"], mine, theirs)
            result["samples"][variant] = []

    def run(side: Worker, variant: str, repeats: int) -> float:
        return side.ask(cmd="run", variant=variant, backward=case["backward"], repeats=repeats)["seconds"]

    # About a tenth of a second per sample, so that a short call is not drowned by the clock and by waking threads.
    repeats = max(1, min(200, int(0.1 / max(1e-6, run(ours, "", 1)))))
    for _ in range(rounds):
        result["rates"].append(ours.ask(cmd="rates"))
        result["samples"]["moesharp"].append(run(ours, "", repeats))
        for variant in variants:
            result["samples"][variant].append(run(torch, variant, repeats))
    return result


def summary(case: dict, threads: int, result: dict) -> dict:
    """Figures of a row."""
    flops = 6.0 * result["rows"] * case["d"] * case["n"] * (3 if case["backward"] else 1)
    mine = statistics.median(result["samples"]["moesharp"])
    size = 2 if case["dtype"] == "bf16" else 4
    weights = result["experts"] * 3 * case["d"] * case["n"] * size
    rate = "dot" if case["dtype"] == "bf16" and result["isa"] != "simd" else "fma"
    row = {
        "name": case["name"], "dtype": case["dtype"], "rho": case["rho"], "threads": threads, "rows": result["rows"], "isa": result["isa"],
        "seconds": mine, "gflops": flops / mine / 1e9, "gbs": weights / mine / 1e9, "peers": {},
        "of_rate": statistics.median(flops / s / 1e9 / max(r[rate], 1e-9) for s, r in zip(result["samples"]["moesharp"], result["rates"])),
        "of_bandwidth": statistics.median(weights / s / 1e9 / r["bandwidth"] for s, r in zip(result["samples"]["moesharp"], result["rates"])),
        "decode": "decode" in case["name"],
    }
    medians = {variant: statistics.median(times) for variant, times in result["samples"].items() if variant != "moesharp"}
    row["peers"] = {variant: flops / seconds / 1e9 for variant, seconds in medians.items()}
    if medians:
        best = min(medians, key=lambda variant: medians[variant])
        row["best"] = best
        row["ratio"] = statistics.median(a / b for a, b in zip(result["samples"][best], result["samples"]["moesharp"]))
    return row


def table(rows: list[dict], about: dict) -> str:
    """The page."""
    text = [
        "# One MoE layer on the CPU: MoeSharp beside PyTorch",
        "",
        f"`{about['command']}`",
        "",
        f"{about['cpu']}; {about['ours']}; {about['torch']}; medians of {about['rounds']} rounds in which the sides take turns.",
        "SwiGLU experts; measured are dispatch, experts and combine (and all gradients), routing given. GFLOP/s of useful work: 6 R d n forward, 18 R d n with",
        "backward, R real rows. *of rate*: of multiply-adds from registers (fp32) or of bf16 pair products from the first-level cache, measured in the same",
        "round. *ratio*: time of the fastest PyTorch variant / time of MoeSharp, median over rounds.",
        "",
        "A: T=512 d=512 n=1024 E=8 K=2. B: T=1024 d=1024 n=512 E=32 K=4. C (OLMoE): T=2048 d=2048 n=1024 E=64 K=8.",
        "",
    ]
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        for threads in dict.fromkeys(row["threads"] for row in rows):
            part = [row for row in rows if row["dtype"] == dtype and row["threads"] == threads and not row["decode"]]
            if part:
                isa = f", products by {part[0]['isa']}" if dtype == "bf16" else ""
                text += [f"## {dtype}, {threads} thread{'s' if threads > 1 else ''}{isa}", ""]
                text += ["| layer | rho | R | MoeSharp GFLOP/s | of rate | loop | sort | bmm | gmm | ratio |", "|---|---|---|---|---|---|---|---|---|---|"]
                text += [
                    f"| {row['name']} | {row['rho']:g} | {row['rows']} | **{row['gflops']:.0f}** | {100 * row['of_rate']:.0f} % | "
                    + " | ".join(f"{row['peers'][v]:.0f}" if v in row["peers"] else "-" for v in VARIANTS)
                    + f" | {ratio(row)} |"
                    for row in part
                ]
                text.append("")
            part = [row for row in rows if row["dtype"] == dtype and row["threads"] == threads and row["decode"]]
            if part:
                text += [f"### Decoding, {dtype}, {threads} thread{'s' if threads > 1 else ''}: GB/s of the weights that must be read", ""]
                text += ["| layer | MoeSharp GB/s | of bandwidth | ratio |", "|---|---|---|---|"]
                text += [f"| {row['name']} | **{row['gbs']:.1f}** | {100 * row['of_bandwidth']:.0f} % | {ratio(row)} |" for row in part]
                text.append("")
    text += falling(rows)
    text += ["llama.cpp's `test-backend-ops perf -o MUL_MAT_ID`: " + about["llama"], ""]
    return "\n".join(text)


def ratio(row: dict) -> str:
    return f"**{row['ratio']:.2f}** ({row['best']})" if "ratio" in row else "no peer here"


def falling(rows: list[dict]) -> list[str]:
    """Time against rho."""
    text = []
    by = {(row["dtype"], row["threads"], row["name"], row["rho"]): row["seconds"] for row in rows if not row["decode"]}
    rhos = sorted({key[3] for key in by if key[3] != 1}, reverse=True)
    lines = []
    for dtype, threads, name, rho in by:
        if rho == 1 and rhos and all((dtype, threads, name, r) in by for r in rhos):
            lines.append(f"| {name} | {dtype} | {threads} | " + " | ".join(f"{by[dtype, threads, name, r] / by[dtype, threads, name, 1]:.2f}" for r in rhos) + " |")
    if lines:
        text = ["## Time falls with rho", "", "| layer | dtype | threads | " + " | ".join(f"t({r:g}) / t(1)" for r in rhos) + " |", "|---" * (3 + len(rhos)) + "|"]
        text += [*lines, ""]
    return text


def picture(rows: list[dict]) -> str:
    """Bars at rho = 1 on the most threads: MoeSharp and the fastest PyTorch variant."""
    most = max((row["threads"] for row in rows), default=1)
    part = [row for row in rows if row["rho"] == 1 and row["threads"] == most and not row["decode"]]
    top = max([row["gflops"] for row in part] + [g for row in part for g in row["peers"].values()] + [1])
    height, left, width = 46 * len(part) + 56, 170, 760
    scale = (width - left - 120) / top
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="13" role="img">',
        f"<title>GFLOP/s of one MoE layer on {most} threads</title>",
        "<style>.t{fill:#1f2328}.m{fill:#59636e}.a{fill:#0a6ebd}.b{fill:#b8c0c8}"
        "@media(prefers-color-scheme:dark){.t{fill:#e6edf3}.m{fill:#9198a1}.a{fill:#58a6ff}.b{fill:#484f58}}</style>",
        f'<text class="t" x="12" y="22" font-weight="600">GFLOP/s of one MoE layer, {most} threads, rho = 1</text>',
        f'<rect class="a" x="{width - 250}" y="12" width="12" height="12"/><text class="m" x="{width - 233}" y="22">MoeSharp</text>',
        f'<rect class="b" x="{width - 155}" y="12" width="12" height="12"/><text class="m" x="{width - 138}" y="22">best PyTorch variant</text>',
    ]
    for index, row in enumerate(part):
        y = 44 + 46 * index
        svg.append(f'<text class="t" x="12" y="{y + 20}">{row["name"]} {row["dtype"]}</text>')
        svg.append(f'<rect class="a" x="{left}" y="{y}" width="{row["gflops"] * scale:.1f}" height="15" rx="2"/>')
        ratio_text = f' ({row["ratio"]:.1f} x)' if "ratio" in row else ""
        svg.append(f'<text class="t" x="{left + row["gflops"] * scale + 6:.1f}" y="{y + 12}">{row["gflops"]:.0f}{ratio_text}</text>')
        if "best" in row:
            best = row["peers"][row["best"]]
            svg.append(f'<rect class="b" x="{left}" y="{y + 17}" width="{best * scale:.1f}" height="15" rx="2"/>')
            svg.append(f'<text class="m" x="{left + best * scale + 6:.1f}" y="{y + 29}">{best:.0f} {row["best"]}</text>')
    return "\n".join([*svg, "</svg>", ""])


def llama(program: str | None) -> str:
    """Its own figures where it is on the machine."""
    found = program or shutil.which("test-backend-ops")
    if not found:
        return "not on this machine."
    done = subprocess.run([found, "perf", "-o", "MUL_MAT_ID", "-b", "CPU"], capture_output=True, text=True, timeout=1800, check=False)
    lines = [line.strip() for line in done.stdout.splitlines() if "MUL_MAT_ID" in line]
    return "\n\n```\n" + "\n".join(lines) + "\n```" if lines else f"{found} printed no figure (exit {done.returncode})."


def write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(path.suffix + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", help="a Python that imports torch; without it MoeSharp is measured alone")
    parser.add_argument("--shapes", nargs="+", default=["A", "B", "C"], choices=SHAPES)
    parser.add_argument("--dtypes", nargs="+", default=["fp32", "bf16"], choices=AGREEMENT)
    parser.add_argument("--rhos", nargs="+", type=float, default=[1.0, 0.5, 0.25])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-backward", dest="backward", action="store_false")
    parser.add_argument("--no-decode", dest="decode", action="store_false")
    parser.add_argument("--llama", help="llama.cpp's test-backend-ops")
    parser.add_argument("--worker", default=str(ROOT / ".artifacts/bin/MoeSharp.Bench/release/MoeSharp.Bench.dll"), help="the built MoeSharp.Bench.dll")
    parser.add_argument("--out", type=Path, help="folder for moe-layer.md, .svg and the raw samples; printed when left out")
    parser.add_argument("--quick", action="store_true", help="one tiny layer, two rounds: does everything work?")
    options = parser.parse_args()
    if options.quick:
        options.shapes, options.rhos, options.threads, options.rounds = ["tiny"], [1.0, 0.5], [1], 2
    return options


def main() -> None:
    options = parse()
    raw = options.out / "moe-layer.jsonl" if options.out else None
    done: dict[str, dict] = {}
    if raw and raw.exists():
        for line in raw.read_text().splitlines():
            entry = json.loads(line)
            done[entry["key"]] = entry
    rows, about = [], {"torch": "no PyTorch here", "rounds": options.rounds, "llama": llama(options.llama)}
    about["command"] = "python3 bench/peers/cpu/compare.py " + " ".join(sys.argv[1:])
    for threads in options.threads:
        ours = Worker(["dotnet", options.worker, "worker"], threads)
        torch = Worker([options.python, str(HERE / "moe_torch.py")], threads) if options.python else None
        about.update(cpu=ours.about["cpu"], ours=ours.about["name"])
        if torch:
            about["torch"] = torch.about["name"]
        for case in cases(options):
            key = f"{case['name']} {case['dtype']} rho={case['rho']:g} threads={threads} {about['torch']}"
            if key not in done:
                done[key] = {"key": key, "result": measure(case, options.rounds, ours, torch)}
                if raw:
                    raw.parent.mkdir(parents=True, exist_ok=True)
                    with raw.open("a") as file:
                        file.write(json.dumps(done[key]) + "\n")
            rows.append(summary(case, threads, done[key]["result"]))
            row = rows[-1]
            print(f"{key}: {row['gflops']:.0f} GFLOP/s, {100 * row['of_rate']:.0f} % of rate, {row['gbs']:.1f} GB/s, ratio {ratio(row)}", file=sys.stderr, flush=True)
        ours.close()
        if torch:
            torch.close()
    if options.out:
        write(options.out / "moe-layer.md", table(rows, about))
        write(options.out / "moe-layer.svg", picture(rows))
    else:
        print(table(rows, about))


if __name__ == "__main__":
    main()
