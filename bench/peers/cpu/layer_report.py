"""What compare.py measured as a page and a picture: a summary first, then one line per case with its distance from the roofline."""

import statistics

TORCH = ("loop", "sort", "bmm", "gmm")


def figures(case: dict, result: dict) -> dict:
    """Figures of a row."""
    d, n, size = case["d"], case["n"], 2 if case["dtype"] == "bf16" else 4
    flops = 6.0 * result["rows"] * d * n * (3 if case["backward"] else 1)
    samples, rates = result["samples"], result["rates"]
    weights = result["experts"] * 3 * d * n * size
    # Every operand once; backward reads the weights again, adds to fp32 weight gradients, and passes over the rows about twice.
    rows = (case["T"] * 2 * d + result["rows"] * (3 * n + d)) * size
    moved = weights + rows if not case["backward"] else 2 * weights + 2 * result["experts"] * 3 * d * n * 4 + 3 * rows
    rate = "dot" if case["dtype"] == "bf16" and result["isa"] != "simd" else "fma"
    mine = samples["moesharp"]

    # Medians first: one rate that a neighbour disturbed would make nonsense of a ratio to one sample.
    seen = {of: statistics.median(r[of] for r in rates) for of in ("dot", "bandwidth")}
    fma = [rate for rates_of in result["fma"].values() for rate in rates_of]
    seen["fma"] = statistics.median(fma)

    def share(amount: float, of: str) -> float:
        return amount / statistics.median(mine) / 1e9 / max(seen[of], 1e-9)

    row = {key: case[key] for key in ("name", "shape", "dtype", "rho", "threads", "backward", "decode")}
    row.update(
        rows=result["rows"], isa=result["isa"], seconds=statistics.median(mine), of_rate=share(flops, rate), of_bandwidth=share(weights if case["decode"] else moved, "bandwidth"))
    # Useful work per second; for decoding, bytes of the weights that must be read.
    row["fma"] = fma
    row["unit"], amount = ("GB/s", weights) if case["decode"] else ("GFLOP/s", flops)
    row["speed"] = {name: amount / statistics.median(times) / 1e9 for name, times in samples.items()}
    row["once"] = {name: amount / seconds / 1e9 for name, seconds in result["once"].items() if name not in samples}
    measured = [name for name in TORCH if name in samples]
    row["best"] = max(measured, key=lambda name: row["speed"][name]) if measured else None
    for peer, name in (("torch", row["best"]), ("ggml", "ggml" if "ggml" in samples else None)):
        row[peer] = statistics.median(a / b for a, b in zip(samples[name], mine)) if name else None
        # The same in units of multiply-adds that the machine did at that moment: what a busy neighbour takes from one side cancels.
        row[peer + " calibrated"] = statistics.median(
            a * f / b / g for a, f, b, g in zip(samples[name], result["fma"][name], mine, result["fma"]["moesharp"])) if name else None
    row["spread"] = (statistics.quantiles(mine, n=4)[2] - statistics.quantiles(mine, n=4)[0]) / row["seconds"] if len(mine) > 1 else 0.0
    ratios = "".join(f", {row[peer]:.2f} x {peer}" for peer in ("torch", "ggml") if row[peer])
    row["line"] = (
        f"{row['name']} {row['dtype']} rho={row['rho']:g} threads={row['threads']}: {row['speed']['moesharp']:.1f} {row['unit']}, "
        f"{100 * row['of_rate']:.0f} % of the rate, {100 * row['of_bandwidth']:.0f} % of bandwidth{ratios}")
    return row


def table(rows: list[dict], about: dict) -> str:
    """The page."""
    shapes = " ".join(f"{name}: {' '.join(f'{key}={value}' for key, value in sizes.items())}." for name, sizes in about["shapes"].items())
    text = [
        "# One MoE layer on the CPU: MoeSharp beside its peers", "",
        f"`{about['command']}`", "",
        f"{about['cpu']}; {'; '.join(about['sides'])}; medians of {about['rounds']} rounds in which the sides take turns, the machine's rates measured beside every sample.", "",
        "SwiGLU experts; measured are dispatch, experts and combine (and all gradients), routing given. GFLOP/s of useful work: 6 R d n forward, 18 R d n with backward, R real rows; "
        "decoding: GB/s of the weights of the experts that have rows. *of rate*: of multiply-adds from registers (fp32) or of bf16 pair products from the first-level cache. "
        "*of bandwidth*: bytes of every operand once, of reading memory; decoding may read caches, which are faster. Both rates are medians over the rounds of a row. *x PyTorch*, *x ggml*: their time (of PyTorch the fastest variant's) / time of MoeSharp, median over rounds; in brackets the same with every time in units of the multiply-add rate measured right before it. "
        "Figures after ~ are of one call of a variant that was slower than the fastest by more than 15 %. ggml, the library of llama.cpp, computes MUL_MAT_ID forward without null slots. "
        f"Peers are left out below rho = 1, and ggml in whole batches, where their rounds would take more than {about['case_seconds']:g} s.", "",
        shapes, "", *machine(rows), *summary(rows),
    ]
    for dtype, threads in dict.fromkeys((row["dtype"], row["threads"]) for row in rows):
        part = [row for row in rows if row["dtype"] == dtype and row["threads"] == threads]
        isa = f", products by {part[0]['isa']}" if dtype == "bf16" else ""
        for decode, heading in ((False, "GFLOP/s"), (True, "decoding, GB/s of weights")):
            chosen = [row for row in part if row["decode"] == decode]
            if chosen:
                text += [f"## {dtype}, {threads} thread{'s' if threads > 1 else ''}{isa}: {heading}", ""]
                text += ["| layer | rho | R | ms | MoeSharp | of rate | of bandwidth | loop | sort | bmm | gmm | ggml | x PyTorch | x ggml |", "|---" * 14 + "|"]
                text += [line(row) for row in chosen] + [""]
    return "\n".join(text)


def machine(rows: list[dict]) -> list[str]:
    """How quiet the machine was: a rate that varies means neighbours, and peers whose threads wait for each other suffer from them most."""
    text = []
    for threads in dict.fromkeys(row["threads"] for row in rows):
        low, middle, high = statistics.quantiles([rate for row in rows if row["threads"] == threads for rate in row["fma"]], n=4)
        text.append(f"- Multiply-add rate, {threads} thread{'s' if threads > 1 else ''}: median {middle:.0f} GFLOP/s, quartiles {low:.0f} and {high:.0f}.")
    return [*text, ""]


def line(row: dict) -> str:
    """A line of the long tables."""
    digits = 1 if row["decode"] else 0
    cells = [row["name"], f"{row['rho']:g}", str(row["rows"]), f"{1e3 * row['seconds']:.3g}", f"**{row['speed']['moesharp']:.{digits}f}**",
             percent(row["of_rate"]), percent(row["of_bandwidth"])]
    for name in (*TORCH, "ggml"):
        cells.append(f"{row['speed'][name]:.{digits}f}" if name in row["speed"] else f"~{row['once'][name]:.{digits}f}" if name in row["once"] else "-")
    for peer, which in (("torch", f"{row['best']}; "), ("ggml", "")):
        cells.append(f"**{row[peer]:.2f}** ({which}{row[peer + ' calibrated']:.2f})" if row[peer] else "-")
    return "| " + " | ".join(cells) + " |"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def summary(rows: list[dict]) -> list[str]:
    """What one wants to know first: ratios, time against rho, decoding."""
    text = []
    full = [row for row in rows if row["rho"] == 1 and not row["decode"]]
    names = list(dict.fromkeys(row["name"] for row in full))
    for peer, label in (("torch", "the fastest PyTorch variant"), ("ggml", "ggml")):
        having = [name for name in names if any(row["name"] == name and row[peer] for row in full)]
        if having:
            text += [f"## Speed relative to {label}, rho = 1", "", "| dtype | threads | " + " | ".join(having) + " |", "|---" * (2 + len(having)) + "|"]
            text += grid(full, having, lambda row, peer=peer: f"**{row[peer]:.2f}**" if row[peer] else "-") + [""]
    if full:
        text += ["## Share of the multiply-add rate, rho = 1", "", "| dtype | threads | " + " | ".join(names) + " |", "|---" * (2 + len(names)) + "|"]
        text += grid(full, names, lambda row: percent(row["of_rate"])) + [""]
    text += falling(rows)
    decode = [row for row in rows if row["decode"]]
    names = list(dict.fromkeys(row["name"] for row in decode))
    if decode:
        text += ["## Decoding: share of the memory bandwidth (x PyTorch, x ggml)", "", "| dtype | threads | " + " | ".join(names) + " |", "|---" * (2 + len(names)) + "|"]
        text += grid(decode, names, lambda row: f"**{percent(row['of_bandwidth'])}** (" + ", ".join(f"{row[p]:.2f}" if row[p] else "-" for p in ("torch", "ggml")) + ")") + [""]
    return text


def grid(rows: list[dict], names: list[str], cell) -> list[str]:
    """Lines by type and threads, columns by layer."""
    by = {(row["dtype"], row["threads"], row["name"]): row for row in rows}
    keys = dict.fromkeys((dtype, threads) for dtype, threads, _ in by)
    return [f"| {dtype} | {threads} | " + " | ".join(cell(by[dtype, threads, name]) if (dtype, threads, name) in by else "-" for name in names) + " |" for dtype, threads in keys]


def falling(rows: list[dict]) -> list[str]:
    """Time against rho."""
    by = {(row["dtype"], row["threads"], row["name"], row["rho"]): row["seconds"] for row in rows if not row["decode"]}
    rhos = sorted({key[3] for key in by if key[3] != 1}, reverse=True)
    lines = []
    for dtype, threads, name, rho in by:
        if rho == 1 and rhos and all((dtype, threads, name, r) in by for r in rhos):
            lines.append(f"| {name} | {dtype} | {threads} | " + " | ".join(f"{by[dtype, threads, name, r] / by[dtype, threads, name, 1]:.2f}" for r in rhos) + " |")
    if not lines:
        return []
    return ["## Time falls with rho", "", "| layer | dtype | threads | " + " | ".join(f"t({r:g}) / t(1)" for r in rhos) + " |", "|---" * (3 + len(rhos)) + "|", *lines, ""]


def picture(rows: list[dict]) -> str:
    """Bars at rho = 1 on the most threads: MoeSharp and the fastest PyTorch variant."""
    most = max((row["threads"] for row in rows), default=1)
    part = [row for row in rows if row["rho"] == 1 and row["threads"] == most and not row["decode"]]
    top = max([1.0] + [speed for row in part for speed in row["speed"].values()])
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
        y, speed = 44 + 46 * index, row["speed"]["moesharp"]
        svg.append(f'<text class="t" x="12" y="{y + 20}">{row["name"]} {row["dtype"]}</text>')
        svg.append(f'<rect class="a" x="{left}" y="{y}" width="{speed * scale:.1f}" height="15" rx="2"/>')
        ratio = f' ({row["torch"]:.1f} x)' if row["torch"] else ""
        svg.append(f'<text class="t" x="{left + speed * scale + 6:.1f}" y="{y + 12}">{speed:.0f}{ratio}</text>')
        if row["best"]:
            best = row["speed"][row["best"]]
            svg.append(f'<rect class="b" x="{left}" y="{y + 17}" width="{best * scale:.1f}" height="15" rx="2"/>')
            svg.append(f'<text class="m" x="{left + best * scale + 6:.1f}" y="{y + 29}">{best:.0f} {row["best"]}</text>')
    return "\n".join([*svg, "</svg>", ""])
