"""One MoE layer in PyTorch, written in the ways people write it; a worker that measures what it is told to on standard input.

The problem: a comparison is worth what its peer is worth. The choice: four ways to write the layer, each without needless copies, and the
fastest one counts. All get the same inputs as MoeSharp.Bench's worker (the same integer hash makes them on both sides), null slots are
dropped before anything is computed, and the routing itself is an input: measured are dispatch, experts and combine, and their gradients.

  loop   for each expert that is hit: gather, two products, index_add (the form of the Hugging Face models)
  sort   tokens sorted by expert, one gather, products per slice, one index_add
  bmm    sorted rows padded to the fullest expert, batched products
  gmm    sorted rows, torch._grouped_mm, where this PyTorch has it for the type
"""

import json
import sys
import time

import torch
import torch.nn.functional as F

MASK = 0xFFFFFFFF
SAMPLES, SHOWN = 4096, 256
VARIANTS = ("loop", "sort", "bmm", "gmm")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def mix(index: torch.Tensor, seed: int) -> torch.Tensor:
    """32 well-mixed bits per index."""
    x = (index * 0x9E3779B1 + seed * 0x85EBCA6B) & MASK
    x = x ^ (x >> 15)
    x = (x * 0x2C1B3C6D) & MASK
    x = x ^ (x >> 12)
    x = (x * 0x297A2D39) & MASK
    return x ^ (x >> 15)


def uniform(seed: int, *shape: int) -> torch.Tensor:
    """Numbers in [-0.5, 0.5), a function of seed and index alone."""
    count = 1
    for size in shape:
        count *= size
    out = torch.empty(count)
    for first in range(0, count, 1 << 18):
        index = torch.arange(first, min(count, first + (1 << 18)), dtype=torch.int64)
        out[first : first + index.numel()] = (mix(index, seed) >> 8).to(torch.float32) / (1 << 24) - 0.5
    return out.view(*shape)


class Weights:
    """Stacked weights, and the same memory as one leaf per expert."""

    def __init__(self, experts: int, d: int, n: int, dtype: torch.dtype):
        self.key = (experts, d, n, dtype)
        self.w1 = (uniform(2, experts, 2 * n, d) * (4 / d**0.5)).to(dtype)
        self.w2 = (uniform(3, experts, d, n) * (4 / n**0.5)).to(dtype)
        self.split1 = [w.detach().requires_grad_() for w in self.w1.unbind()]
        self.split2 = [w.detach().requires_grad_() for w in self.w2.unbind()]
        self.w1.requires_grad_()
        self.w2.requires_grad_()


class Layer:
    """Inputs of a case, and the ways to compute it."""

    def __init__(self, case: dict, weights: Weights):
        tokens, d, experts, k = (case[name] for name in ("T", "d", "E", "K"))
        dtype = DTYPES[case["dtype"]]
        self.tokens, self.d, self.experts = tokens, d, experts
        self.w1, self.w2, self.split1, self.split2 = weights.w1, weights.w2, weights.split1, weights.split2
        self.x = uniform(1, tokens, d).to(dtype).requires_grad_()
        self.d_out = uniform(4, tokens, d).to(dtype)
        keys = mix(torch.arange(tokens * experts, dtype=torch.int64), 5).view(tokens, experts)
        ids = torch.argsort(keys, dim=1, stable=True)[:, :k]
        real = (mix(torch.arange(tokens * k, dtype=torch.int64), 6).view(tokens, k) >> 8).to(torch.float64) / (1 << 24) < case["rho"]
        self.slot = real.flatten().nonzero().squeeze(1)
        self.slot_expert = ids.flatten()[self.slot]
        self.slot_token = torch.div(self.slot, k, rounding_mode="floor")
        self.weights = (uniform(7, tokens, k) + 1.0).requires_grad_()
        self.dtype = dtype

    def parameters(self, variant: str) -> list[torch.Tensor]:
        """What gradients are asked for: stacked weights, or one leaf per expert where slices would cost a gradient of full size each."""
        return [*self.split1, *self.split2] if variant in ("loop", "sort") else [self.w1, self.w2]

    def sorted_slots(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        order = torch.argsort(self.slot_expert, stable=True)
        return self.slot_token[order], self.slot[order], torch.bincount(self.slot_expert, minlength=self.experts)

    def combine(self, y: torch.Tensor, token: torch.Tensor, slot: torch.Tensor) -> torch.Tensor:
        weighted = y * self.weights.flatten()[slot].to(y.dtype).unsqueeze(1)
        return torch.zeros(self.tokens, self.d, dtype=y.dtype).index_add(0, token, weighted)

    def loop(self) -> torch.Tensor:
        out = torch.zeros(self.tokens, self.d, dtype=self.dtype)
        flat = self.weights.flatten()
        for expert in torch.unique(self.slot_expert).tolist():
            mine = (self.slot_expert == expert).nonzero().squeeze(1)
            token = self.slot_token[mine]
            gate, up = F.linear(self.x[token], self.split1[expert]).chunk(2, dim=1)
            y = F.linear(F.silu(gate) * up, self.split2[expert])
            out = out.index_add_(0, token, y * flat[self.slot[mine]].to(y.dtype).unsqueeze(1))
        return out

    def sort(self) -> torch.Tensor:
        token, slot, counts = self.sorted_slots()
        rows, results = self.x[token].split(counts.tolist()), []
        for expert, part in enumerate(rows):
            if part.shape[0]:
                gate, up = F.linear(part, self.split1[expert]).chunk(2, dim=1)
                results.append(F.linear(F.silu(gate) * up, self.split2[expert]))
        return self.combine(torch.cat(results) if results else self.x[:0], token, slot)

    def bmm(self) -> torch.Tensor:
        token, slot, counts = self.sorted_slots()
        width = int(counts.max())
        starts = torch.cumsum(counts, 0) - counts
        expert = torch.repeat_interleave(torch.arange(self.experts), counts)
        place = expert * width + torch.arange(token.numel()) - starts[expert]
        padded = torch.zeros(self.experts * width, self.d, dtype=self.dtype).index_copy(0, place, self.x[token])
        gate, up = torch.bmm(padded.view(self.experts, width, self.d), self.w1.transpose(1, 2)).chunk(2, dim=2)
        y = torch.bmm(F.silu(gate) * up, self.w2.transpose(1, 2)).view(-1, self.d)
        return self.combine(y[place], token, slot)

    def gmm(self) -> torch.Tensor:
        token, slot, counts = self.sorted_slots()
        ends = torch.cumsum(counts, 0).to(torch.int32)
        gate, up = torch._grouped_mm(self.x[token], self.w1.transpose(1, 2), offs=ends).chunk(2, dim=1)
        return self.combine(torch._grouped_mm(F.silu(gate) * up, self.w2.transpose(1, 2), offs=ends), token, slot)

    def call(self, variant: str, backward: bool) -> list[torch.Tensor]:
        function = getattr(self, variant)
        if not backward:
            with torch.no_grad():
                return [function()]
        out = function()
        leaves = self.parameters(variant)
        gradients = torch.autograd.grad(out, [self.x, self.weights, *leaves], self.d_out, allow_unused=True)
        return [out.detach(), *gradients]

    def sample(self, variant: str, backward: bool) -> dict:
        """One call, how long it took, and some numbers of every result, to be compared with the other side's."""
        start = time.perf_counter()
        results = self.call(variant, backward)
        seconds = time.perf_counter() - start
        found = {"out": pick(results[:1])}
        if backward:
            half = 3 + (len(results) - 3) // 2
            empty1, empty2 = torch.zeros_like(self.split1[0]), torch.zeros_like(self.split2[0])
            found["dX"], found["dWeights"] = pick(results[1:2]), pick(results[2:3])
            found["dW1"] = pick([empty1 if g is None else g for g in results[3:half]])
            found["dW2"] = pick([empty2 if g is None else g for g in results[half:]])
        return {"seconds": seconds, "results": found}


def pick(parts: list[torch.Tensor]) -> list[float]:
    """The root mean square of some elements of equal parts that make one tensor, and the first of them."""
    flat = [part.detach().reshape(-1) for part in parts]
    size = flat[0].numel()
    index = (mix(torch.arange(SAMPLES, dtype=torch.int64), 8) % (size * len(flat))).tolist()
    values = torch.stack([flat[i // size][i % size] for i in index]).double()
    return [float(values.square().mean().sqrt()), *values[:SHOWN].tolist()]


def has_gmm(dtype: torch.dtype, backward: bool) -> bool:
    """Whether this PyTorch computes grouped products of a type here."""
    x, w = torch.ones(32, 32, dtype=dtype, requires_grad=True), torch.ones(2, 32, 32, dtype=dtype, requires_grad=True)
    try:
        y = torch._grouped_mm(x, w.transpose(1, 2), offs=torch.tensor([16, 32], dtype=torch.int32))
        if backward:
            torch.autograd.grad(y, [x, w], torch.ones_like(y))
        return True
    except (AttributeError, RuntimeError, NotImplementedError) as error:
        print(f"gmm is not there: {error}".splitlines()[0], file=sys.stderr)
        return False


def answer(request: dict, state: dict) -> dict:
    command = request["cmd"]
    if command == "hello":
        return {"name": f"PyTorch {torch.__version__}"}
    if command == "case":
        torch.set_num_threads(request["threads"])
        dtype = DTYPES[request["dtype"]]
        state.pop("layer", None)
        if "weights" not in state or state["weights"].key != (request["E"], request["d"], request["n"], dtype):
            state.pop("weights", None)
            state["weights"] = Weights(request["E"], request["d"], request["n"], dtype)
        state["layer"] = Layer(request, state["weights"])
        found = [name for name in VARIANTS if name != "gmm" or has_gmm(dtype, request["backward"])]
        return {"variants": found, "rows": state["layer"].slot.numel()}
    if command == "sample":
        return state["layer"].sample(request["variant"], request["backward"])
    if command == "run":
        layer = state["layer"]
        start = time.perf_counter()
        for _ in range(request["repeats"]):
            layer.call(request["variant"], request["backward"])
        return {"seconds": (time.perf_counter() - start) / request["repeats"]}
    raise ValueError(f"unknown command {command!r}")


def main() -> None:
    state: dict = {}
    for line in sys.stdin:
        request = json.loads(line)
        if request["cmd"] == "quit":
            return
        print(json.dumps(answer(request, state)), flush=True)


if __name__ == "__main__":
    main()
