#!/usr/bin/env python3
"""Brings the engine up on a machine with an NVIDIA driver and Python, but no .NET: one command, one JSON, one Markdown table.

    tar -xzf moesharp-bringup.tar.gz && python3 moesharp/bringup.py --out RESULTS

The ladder, each rung resting on the one before it; the first rung that fails ends it, because what stands on it would only repeat the failure:
  probe        driver, NVRTC (the Python wheel nvidia-cuda-nvrtc-cu12 will do), device
  compile      every kernel for this device's architecture
  gemm         dense products against the double reference
  dispatch     exact against the counting sort, gate and combine
  experts      grouped products, forward and backward
  ops          everything else of the contract
  layer        null invariance, determinism, graph replay, golden layers, a short training run
  sanitizer    compute-sanitizer memcheck, racecheck and synccheck over a few small cases, where it is installed
  benchmark    moe profile over the known shapes, rho = 1, 0.5, 0.25
Nothing is changed on the machine but the cache and the folder of results.
"""
import argparse, json, os, platform, shutil, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
RUNGS = [
    ("gemm", ["*GemmOnCuda*"]),
    ("dispatch", ["*DispatchOnCuda*", "*GateOnCuda*", "*CombineOnCuda*"]),
    ("experts", ["*ExpertOnCuda*"]),
    ("ops", ["*DenseOnCuda*", "*ElementwiseOnCuda*", "*AttentionOnCuda*", "*OptimizerOnCuda*"]),
    ("layer", ["*Cuda*"]),  # whatever the rungs before it left out
]
SANITIZED = ["*NullInvarianceOnCuda*", "*GoldenOnCuda*"]  # a few layers, every op of theirs: each access costs hundreds under the sanitizer
SHAPES = ["olmoe-1b-7b", "qwen3-30b-a3b", "mixtral-8x7b", "kimi-linear-48b", "qwen3-next-80b", "sonic-7b", "sonic-30b", "sonic-120b"]


def run(command, log, env, timeout):
    """Runs a command into a log file; (exit code, seconds, last lines)."""
    start = time.time()
    with open(log, "wb") as sink:
        try:
            code = subprocess.run(command, stdout=sink, stderr=subprocess.STDOUT, env=env, timeout=timeout, stdin=subprocess.DEVNULL).returncode
        except subprocess.TimeoutExpired:
            code = 124
        except OSError as error:
            sink.write(str(error).encode())
            code = 127
    with open(log, errors="replace") as text:
        tail = text.read().splitlines()[-15:]
    return code, time.time() - start, tail


def clocks():
    """Clocks, power and temperature as the driver's tool reports them, or None."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    fields = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.draw,temperature.gpu"
    done = subprocess.run([tool, f"--query-gpu={fields}", "--format=csv,noheader"], capture_output=True, text=True)
    return dict(zip(fields.split(","), [x.strip() for x in done.stdout.splitlines()[0].split(",")])) if done.returncode == 0 and done.stdout else None


def profile(moe, shape, rho, dtype, env, timeout):
    done = subprocess.run([moe, "profile", "--device", "cuda", "--dtype", dtype, "--shape", shape, "--rho", str(rho), "--format", "json", "--quiet"],
                          capture_output=True, text=True, env=env, timeout=timeout)
    return json.loads(done.stdout) if done.returncode == 0 else {"shape": shape, "rho": rho, "error": done.stderr.strip().splitlines()[:1]}


def table(report):
    lines = [f"# Bring-up on {report['device']}", "", f"`python3 bringup.py`, {report['date']}, {report['system']}", ""]
    lines += ["| rung | result | seconds |", "|---|---|---:|"]
    lines += [f"| {r['name']} | {r['result']} | {r['seconds']:.0f} |" for r in report["rungs"]]
    for entry in report["profiles"]:
        if "error" in entry:
            lines += ["", f"{entry['shape']} rho={entry['rho']}: {entry['error']}"]
            continue
        lines += ["", f"## {entry['shape']}: T={entry['tokens']} d={entry['hidden']} n={entry['expert_width']} E={entry['experts']} K={entry['top_k']} rho={entry['rho']} R={entry['rows']}", "",
                  f"{entry['device']}, {entry['dtype']}, medians of {entry['samples']} runs", "",
                  "| op | µs | IQR µs | TFLOP/s | GB/s | % of roofline | SM MHz |", "|---|---:|---:|---:|---:|---:|---:|"]
        for op in entry["ops"]:
            share = "-" if op["share_of_roofline"] is None else f"{100 * op['share_of_roofline']:.0f}"
            lines.append(f"| {op['op']} | {op['microseconds']:.1f} | {op['iqr_microseconds']:.1f} | {op['tflops']:.1f} | {op['gigabytes_per_second']:.0f} | {share} | {op.get('sm_mhz', '-')} |")
    for when in ("clocks_before", "clocks_after"):
        if report.get(when):
            lines += ["", f"{when.replace('_', ' ')}: " + ", ".join(f"{name} {value}" for name, value in report[when].items())]
    return "\n".join(lines) + "\n"


def write(path, text):
    with open(path + ".part", "w", encoding="utf-8") as sink:
        sink.write(text)
    os.replace(path + ".part", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder for bringup.json, bringup.md and the logs")
    parser.add_argument("--step-seconds", type=int, default=150, help="limit of one rung")
    parser.add_argument("--shapes", nargs="*", default=SHAPES, help="shapes to profile")
    parser.add_argument("--rhos", nargs="*", type=float, default=[1.0, 0.5, 0.25])
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "fp32"])
    parser.add_argument("--only", nargs="*", help="rungs to climb; all by default")
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    env = dict(os.environ, DOTNET_SYSTEM_GLOBALIZATION_INVARIANT="1", MOESHARP_TEST_DEVICE="cuda", MOESHARP_CACHE=os.path.join(options.out, "cache"))
    moe, suite = os.path.join(HERE, "moe"), os.path.join(HERE, "MoeSharp.Conformance")
    info = subprocess.run([moe, "info", "--format", "json"], capture_output=True, text=True, env=env)
    if info.returncode != 0:
        print(f"moe info failed: {info.stderr.strip()}", file=sys.stderr)
        return 1
    report = {"date": time.strftime("%Y-%m-%d"), "system": platform.platform(), "device": "unknown", "info": json.loads(info.stdout), "clocks_before": clocks(), "rungs": [], "profiles": []}
    report["device"] = next((device["name"] for device in report["info"]["cuda_devices"]), "no device")

    def rung(name, command, good=(0,)):
        if options.only and name not in options.only:
            return True
        code, seconds, tail = run(command, os.path.join(options.out, f"{name}.log"), env, options.step_seconds)
        result = "ok" if code in good else f"FAILED (exit code {code})"
        report["rungs"].append({"name": name, "result": result, "seconds": seconds, "tail": tail if result != "ok" else tail[-2:]})
        print(f"{name}: {result}, {seconds:.0f} s", flush=True)
        if result != "ok":
            print("\n".join("    " + line for line in tail), flush=True)
        return result == "ok"

    def tests(patterns, without=()):
        filters = [("--filter-class", pattern) for pattern in patterns] + [("--filter-not-class", pattern) for pattern in without]
        return [suite] + [word for pair in filters for word in pair]

    steps = [("probe", [moe, "profile", "--device", "cuda", "--dtype", options.dtype, "--shape", "small", "--tokens", "64", "--samples", "1"]),
             ("compile", [moe, "kernels", "build", "--arch", "native", "--out", os.path.join(options.out, "kernels")])]
    climbed = []
    for name, patterns in RUNGS:
        steps.append((name, tests(patterns, climbed)))
        climbed += patterns
    standing = all(rung(name, command) for name, command in steps)
    sanitizer = shutil.which("compute-sanitizer")
    if standing and sanitizer:
        for tool in ("memcheck", "racecheck", "synccheck"):
            rung(f"sanitizer-{tool}", [sanitizer, "--tool", tool, "--error-exitcode", "9"] + tests(SANITIZED))
    elif standing and not options.only:
        report["rungs"].append({"name": "sanitizer", "result": "not installed", "seconds": 0, "tail": []})
    if standing and (not options.only or "benchmark" in options.only):
        for shape in options.shapes:
            for rho in options.rhos:
                report["profiles"].append(profile(moe, shape, rho, options.dtype, env, options.step_seconds))
                print(f"profile {shape} rho={rho}: {'error' if 'error' in report['profiles'][-1] else 'ok'}", flush=True)
                write(os.path.join(options.out, "bringup.json"), json.dumps(report, indent=1))
    report["clocks_after"] = clocks()
    write(os.path.join(options.out, "bringup.json"), json.dumps(report, indent=1))
    write(os.path.join(options.out, "bringup.md"), table(report))
    return 0 if standing else 1


if __name__ == "__main__":
    sys.exit(main())
