"""The model of `moe train`'s default preset in PyTorch, and its training step: a worker of compare_train.py.

A byte-level pre-norm decoder: rotary positions, grouped-query attention (scaled_dot_product_attention), a MoE layer with null experts in
every block (one shared null logit in M copies, weights over the chosen real experts, balance and z-loss), tied embeddings, AdamW with clipping.
The same sizes, the same number of parameters, the same text. The MoE layer comes in two ways, `loop` and `sort`, as in moe_torch.py.
"""

import json
import math
import sys
import time
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F


class Moe(nn.Module):
    """SwiGLU experts behind a router whose null slots cost nothing (arXiv 2601.15370)."""

    def __init__(self, config: dict, variant: str):
        super().__init__()
        d, n, experts = config["hidden_size"], config["moe_intermediate_size"], config["num_experts"]
        self.experts, self.top_k, self.rho = experts, config["num_experts_per_tok"], config["data_sparsity"]
        self.nulls = round(experts * (1 - self.rho) / self.rho)
        self.variant = variant
        std, out_std = 0.02, 0.02 / math.sqrt(2 * config["num_hidden_layers"])
        self.gate = nn.Parameter(torch.randn(experts + 1, d) * std)
        self.up = nn.ParameterList([nn.Parameter(torch.randn(2 * n, d) * std) for _ in range(experts)])
        self.down = nn.ParameterList([nn.Parameter(torch.randn(d, n) * out_std) for _ in range(experts)])
        self.bias = 0.0

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        logits = F.linear(x, self.gate).float()
        real, null = logits[:, : self.experts], logits[:, self.experts :]
        top, ids = real.topk(self.top_k, dim=1)
        # All copies share a logit: a slot is real while its logit is not below theirs, and at least K - M are real.
        chosen = (top >= null + self.bias) | (torch.arange(self.top_k) < self.top_k - self.nulls)
        weights = torch.where(chosen, top, -torch.inf).softmax(dim=1).nan_to_num()
        log_sum = torch.logaddexp(real.logsumexp(dim=1), null.squeeze(1) + math.log(self.nulls))
        probabilities = (real - log_sum.unsqueeze(1)).exp().mean(dim=0)
        null_probability = (null.squeeze(1) - log_sum).exp().mean()
        slot = chosen.flatten().nonzero().squeeze(1)
        expert, token = ids.flatten()[slot], torch.div(slot, self.top_k, rounding_mode="floor")
        order = torch.argsort(expert, stable=True)
        slot, token = slot[order], token[order]
        counts = torch.bincount(expert, minlength=self.experts)
        total = ids.numel()
        balance = (self.experts + self.nulls) * ((counts / total * probabilities).sum() + (total - slot.numel()) / total * null_probability)
        self.bias += 0.1 * (slot.numel() / total - self.rho)
        return self.run(x, token, weights.flatten()[slot].to(x.dtype), counts.tolist()), balance, log_sum.square().mean()

    def run(self, x: torch.Tensor, token: torch.Tensor, weights: torch.Tensor, counts: list[int]) -> torch.Tensor:
        if self.variant == "sort":
            parts = [self.expert(e, part) for e, part in enumerate(x[token].split(counts)) if counts[e]]
            return torch.zeros_like(x).index_add(0, token, torch.cat(parts) * weights.unsqueeze(1)) if parts else torch.zeros_like(x)
        out = torch.zeros_like(x)
        for e, (rows, share) in enumerate(zip(token.split(counts), weights.split(counts))):
            if counts[e]:
                out = out.index_add(0, rows, self.expert(e, x[rows]) * share.unsqueeze(1))
        return out

    def expert(self, index: int, rows: torch.Tensor) -> torch.Tensor:
        gate, up = F.linear(rows, self.up[index]).chunk(2, dim=1)
        return F.linear(F.silu(gate) * up, self.down[index])


class Block(nn.Module):
    """Attention and MoE, each behind a norm and around the residual stream."""

    def __init__(self, config: dict, variant: str):
        super().__init__()
        d, self.heads, self.kv, self.width = config["hidden_size"], config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
        self.norm1, self.norm2 = (nn.RMSNorm(d, eps=config["rms_norm_eps"]) for _ in range(2))
        self.q = nn.Linear(d, self.heads * self.width, bias=False)
        self.k, self.v = (nn.Linear(d, self.kv * self.width, bias=False) for _ in range(2))
        self.o = nn.Linear(self.heads * self.width, d, bias=False)
        for linear in (self.q, self.k, self.v, self.o):
            nn.init.normal_(linear.weight, std=0.02)
        self.moe = Moe(config, variant)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        batch, length, d = x.shape
        h = self.norm1(x)
        q = self.q(h).view(batch, length, self.heads, self.width).transpose(1, 2)
        k = self.k(h).view(batch, length, self.kv, self.width).transpose(1, 2)
        v = self.v(h).view(batch, length, self.kv, self.width).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.o(attended.transpose(1, 2).reshape(batch, length, -1))
        out, balance, z = self.moe(self.norm2(x).view(-1, d))
        return x + out.view(batch, length, d), balance, z


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-high, low], dim=-1) * sin


class Model(nn.Module):
    """The whole decoder."""

    def __init__(self, config: dict, variant: str):
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(config["vocab_size"], config["hidden_size"]) * 0.02)
        self.blocks = nn.ModuleList([Block(config, variant) for _ in range(config["num_hidden_layers"])])
        self.norm = nn.RMSNorm(config["hidden_size"], eps=config["rms_norm_eps"])
        width = config["head_dim"]
        frequency = config["rope_theta"] ** (-torch.arange(0, width, 2) / width)
        angle = torch.outer(torch.arange(config["max_position_embeddings"]).float(), frequency)
        self.register_buffer("cos", torch.cat([angle.cos(), angle.cos()], dim=1), persistent=False)
        self.register_buffer("sin", torch.cat([angle.sin(), angle.sin()], dim=1), persistent=False)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x, balance, z = self.embedding[ids], 0.0, 0.0
        for block in self.blocks:
            x, b, q = block(x, self.cos.to(x.dtype), self.sin.to(x.dtype))
            balance, z = balance + b / len(self.blocks), z + q / len(self.blocks)
        return F.linear(self.norm(x), self.embedding), balance, z


class Run:
    """A model in training."""

    def __init__(self, train: dict, data: torch.Tensor, variant: str):
        torch.manual_seed(1)
        self.train, self.data, config = train, data, train["model"]
        self.batch, self.length = train["batch_size"], config["max_position_embeddings"]
        self.model = Model(config, variant)
        decay = [p for p in self.model.parameters() if p.dim() > 1]
        plain = [p for p in self.model.parameters() if p.dim() <= 1]
        groups = [{"params": decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step(self) -> None:
        first = torch.randint(0, self.data.numel() - self.length - 1, (self.batch,)).tolist()
        ids = torch.stack([self.data[f : f + self.length] for f in first])
        targets = torch.stack([self.data[f + 1 : f + self.length + 1] for f in first])
        self.optimizer.zero_grad()
        logits, balance, z = self.model(ids)
        loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))
        (loss + self.train["balance_weight"] * balance + self.train["z_loss_weight"] * z).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        # As in `moe train`, every step looks at its loss.
        if not math.isfinite(loss.item()):
            raise ValueError(f"the loss is {loss.item()}")


def answer(request: dict, runs: dict[str, Run]) -> dict:
    command = request["cmd"]
    if command == "hello":
        return {"name": f"PyTorch {torch.__version__}"}
    if command == "case":
        torch.set_num_threads(request["threads"])
        train = json.loads((Path(request["run"]) / "train.json").read_text())
        text = b"".join(path.read_bytes() for path in sorted(Path(request["data"]).rglob("*.cs")))
        data = torch.tensor(list(text), dtype=torch.long)
        runs.update({variant: Run(train, data, variant) for variant in request["variants"]})
        return {"parameters": sum(p.numel() for p in next(iter(runs.values())).model.parameters())}
    if command == "run":
        start = time.perf_counter()
        for _ in range(request["steps"]):
            runs[request["variant"]].step()
        return {"seconds": time.perf_counter() - start}
    raise ValueError(f"unknown command {command!r}")


def main() -> None:
    runs: dict[str, Run] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if request["cmd"] == "quit":
            return
        print(json.dumps(answer(request, runs)), flush=True)


if __name__ == "__main__":
    main()
