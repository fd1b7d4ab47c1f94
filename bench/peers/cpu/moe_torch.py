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
    for first in range(0, count, 1 << 22):
        index = torch.arange(first, min(count, first + (1 << 22)), dtype=torch.int64)
        out[first : first + index.numel()] = (mix(index, seed) >> 8).to(torch.float32) / (1 << 24) - 0.5
    return out.view(*shape)


class Layer:
    """Inputs of a case, and the ways to compute it."""

    def __init__(self, case: dict):
        tokens, d, n, experts, k = (case[name] for name in ("T", "d", "n", "E", "K"))
        dtype = DTYPES[case["dtype"]]
        self.tokens, self.d, self.experts = tokens, d, experts
        self.x = uniform(1, tokens, d).to(dtype).requires_grad_()
        self.w1 = (uniform(2, experts, 2 * n, d) * (4 / d**0.5)).to(dtype)
        self.w2 = (uniform(3, experts, d, n) * (4 / n**0.5)).to(dtype)
        self.d_out = uniform(4, tokens, d).to(dtype)
        keys = mix(torch.arange(tokens * experts, dtype=torch.int64), 5).view(tokens, experts)
        ids = torch.argsort(keys, dim=1, stable=True)[:, :k]
        real = (mix(torch.arange(tokens * k, dtype=torch.int64), 6).view(tokens, k) >> 8).to(torch.float64) / (1 << 24) < case["rho"]
        self.slot = real.flatten().nonzero().squeeze(1)
        self.slot_expert = ids.flatten()[self.slot]
        self.slot_token = torch.div(self.slot, k, rounding_mode="floor")
        self.weights = (uniform(7, tokens, k) + 1.0).requires_grad_()
        self.dtype = dtype
        self.split1: list[torch.Tensor] | None = None
        self.grouped = None

    def parameters(self, variant: str) -> list[torch.Tensor]:
        """What gradients are asked for: stacked weights, or one leaf per expert where slices would cost a gradient of full size each."""
        if variant in ("loop", "sort"):
            if self.split1 is None:
                self.split1 = [w.detach().requires_grad_() for w in self.w1.unbind()]
                self.split2 = [w.detach().requires_grad_() for w in self.w2.unbind()]
            return [*self.split1, *self.split2]
        self.w1.requires_grad_()
        self.w2.requires_grad_()
        return [self.w1, self.w2]

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

    def sample(self, variant: str, backward: bool) -> dict[str, list[float]]:
        """Some numbers of every result, to be compared with the other side's."""
        results = self.call(variant, backward)
        names = {"out": results[0]}
        if backward:
            names["dX"], names["dWeights"] = results[1], results[2]
            rest = results[3:]
            if len(rest) > 2:
                half = len(rest) // 2
                zeros = (torch.zeros_like(self.w1[0]), torch.zeros_like(self.w2[0]))
                names["dW1"] = torch.stack([zeros[0] if g is None else g for g in rest[:half]])
                names["dW2"] = torch.stack([zeros[1] if g is None else g for g in rest[half:]])
            else:
                names["dW1"], names["dW2"] = rest
        found = {}
        for name, tensor in names.items():
            flat = tensor.detach().float().flatten()
            index = mix(torch.arange(256, dtype=torch.int64), 8) % flat.numel()
            found[name] = [float(flat.double().square().mean().sqrt()), *flat[index].tolist()]
        return found


def variants(layer: Layer, backward: bool) -> list[str]:
    """Those that work here for the type."""
    found = []
    for name in ("loop", "sort", "bmm", "gmm"):
        try:
            layer.parameters(name)
            layer.call(name, backward)
            found.append(name)
        except (AttributeError, RuntimeError, NotImplementedError) as error:
            if name != "gmm":
                raise
            print(f"gmm is not there: {error}".splitlines()[0], file=sys.stderr)
    return found


def answer(request: dict, state: dict) -> dict:
    command = request["cmd"]
    if command == "hello":
        torch.set_num_threads(request["threads"])
        return {"name": f"PyTorch {torch.__version__}", "threads": torch.get_num_threads()}
    if command == "case":
        state.clear()
        state["layer"] = Layer(request)
        return {"variants": variants(state["layer"], request["backward"]), "rows": state["layer"].slot.numel()}
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
