"""Language models: tied embeddings, rotary positions, RMS norms, padding, cross attention."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.compare.mirror.example import Example, Maker, classes, next_token, tokens


# ── GPT: fused projection, causal mask in a buffer, head tied to the embedding ───────────────────
class CausalAttention(nn.Module):
    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.1)
        self.register_buffer("mask", torch.tril(torch.ones(length, length))[None, None])

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.size()
        q, k, v = self.qkv(x).split(C, dim=2)
        q, k, v = (t.view(B, T, self.heads, C // self.heads).transpose(1, 2) for t in (q, k, v))
        scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        scores = scores.masked_fill(self.mask[:, :, :T, :T] == 0, float("-inf"))
        out = self.dropout(F.softmax(scores, dim=-1)) @ v
        return self.proj(out.transpose(1, 2).contiguous().view(B, T, C))


class NewGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))
        return 0.5 * x * (1.0 + torch.tanh(inner))


class GptBlock(nn.Module):
    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = CausalAttention(width, heads, length)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), NewGelu(), nn.Linear(4 * width, width), nn.Dropout(0.1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt(nn.Module):
    def __init__(self, vocabulary: int = 17, width: int = 16, length: int = 8) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(length, width)
        self.drop = nn.Dropout(0.1)
        self.blocks = nn.ModuleList([GptBlock(width, 2, length) for _ in range(2)])
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, idx: Tensor, targets: Tensor | None = None):
        pos = torch.arange(idx.size(1), device=idx.device)
        x = self.drop(self.wte(idx) + self.wpe(pos))
        for block in self.blocks:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        if targets is None:
            return logits
        loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)
        return logits, loss


def gpt() -> Example:
    idx = tokens(2, 6)
    return Example(Gpt(), (idx,), loss=next_token(idx))


def gpt_with_its_loss() -> Example:
    """Logits and loss come back as a pair; one target is ignored."""
    idx = tokens(2, 7)
    targets = idx[:, 1:].clone()
    targets[0, -1] = -1
    return Example(Gpt(), (idx[:, :-1], targets), loss=lambda output: output[1])


# ── Llama: RMS norm by hand, rotary positions, grouped queries, SwiGLU ───────────────────────────
class RMSNorm(nn.Module):
    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def _norm(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)

    def forward(self, x: Tensor) -> Tensor:
        return self._norm(x.float()).type_as(x) * self.weight


def rotate_half(x: Tensor) -> Tensor:
    x1, x2 = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return torch.cat((-x2, x1), dim=-1)


class RotaryHalves(nn.Module):
    """Rotary positions as cosines and sines."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        frequencies = 1.0 / (10000.0 ** (torch.arange(0, dim, 2).float() / dim))
        self.register_buffer("inv_freq", frequencies, persistent=False)

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:  # (B, H, T, D)
        t = torch.arange(q.shape[2], device=q.device).type_as(self.inv_freq)
        emb = torch.cat((f := torch.outer(t, self.inv_freq), f), dim=-1)
        cos, sin = emb.cos()[None, None], emb.sin()[None, None]
        return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


class RotaryComplex(nn.Module):
    """Rotary positions as products of complex numbers."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        frequencies = 1.0 / (10000.0 ** (torch.arange(0, dim, 2).float() / dim))
        angles = torch.outer(torch.arange(8).float(), frequencies)
        self.register_buffer("freqs_cis", torch.polar(torch.ones_like(angles), angles))

    def turned(self, x: Tensor) -> Tensor:
        x_ = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
        turn = self.freqs_cis[: x.shape[2]].view(1, 1, x.shape[2], -1)
        return torch.view_as_real(x_ * turn).flatten(3).type_as(x)

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        return self.turned(q), self.turned(k)


def repeat_kv(x: Tensor, n_rep: int) -> Tensor:
    bs, heads, length, dim = x.shape
    return (
        x[:, :, None, :, :]
        .expand(bs, heads, n_rep, length, dim)
        .reshape(bs, heads * n_rep, length, dim)
    )


class GroupedAttention(nn.Module):
    def __init__(self, width: int, rotary: type[nn.Module], repeat: bool) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.dim, self.repeat = 4, 2, width // 4, repeat
        self.wq = nn.Linear(width, 4 * self.dim, bias=False)
        self.wk = nn.Linear(width, 2 * self.dim, bias=False)
        self.wv = nn.Linear(width, 2 * self.dim, bias=False)
        self.wo = nn.Linear(width, width, bias=False)
        self.rotary = rotary(self.dim)

    def grouped(self, x: Tensor) -> Tensor:
        groups = self.heads // self.kv_heads
        return repeat_kv(x, groups) if self.repeat else x.repeat_interleave(groups, dim=1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        B, T, _ = x.shape
        q = self.wq(x).view(B, T, self.heads, self.dim).transpose(1, 2)
        k = self.wk(x).view(B, T, self.kv_heads, self.dim).transpose(1, 2)
        v = self.wv(x).view(B, T, self.kv_heads, self.dim).transpose(1, 2)
        q, k = self.rotary(q, k)
        scores = torch.matmul(q, self.grouped(k).transpose(2, 3)) / math.sqrt(self.dim)
        scores = F.softmax((scores + mask).float(), dim=-1).type_as(q)
        out = torch.matmul(scores, self.grouped(v)).transpose(1, 2).contiguous()
        return self.wo(out.view(B, T, -1))


class SwiGlu(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, hidden, bias=False)
        self.w2 = nn.Linear(hidden, width, bias=False)
        self.w3 = nn.Linear(width, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Llama(nn.Module):
    def __init__(self, rotary: type[nn.Module], repeat: bool, width: int = 16) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(17, width)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "attention_norm": RMSNorm(width),
                    "attention": GroupedAttention(width, rotary, repeat),
                    "ffn_norm": RMSNorm(width),
                    "feed_forward": SwiGlu(width, 24),
                }
            )
            for _ in range(2)
        )
        self.norm = RMSNorm(width)
        self.output = nn.Linear(width, 17, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        h = self.tok_embeddings(ids)
        mask = torch.full((ids.shape[1], ids.shape[1]), float("-inf"), device=h.device)
        mask = torch.triu(mask, diagonal=1).type_as(h)
        for layer in self.layers:
            h = h + layer["attention"](layer["attention_norm"](h), mask)
            h = h + layer["feed_forward"](layer["ffn_norm"](h))
        return self.output(self.norm(h)).float()


def llama() -> Example:
    ids = tokens(2, 6)
    return Example(Llama(RotaryHalves, repeat=True), (ids,), loss=next_token(ids))


def llama_complex() -> Example:
    ids = tokens(2, 6)
    return Example(Llama(RotaryComplex, repeat=False), (ids,), loss=next_token(ids))


# ── BERT: token types, padding, pooled first token, a classification head ────────────────────────
class BertLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.dim = heads, width // heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.dense = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, eps=1e-12)
        self.intermediate = nn.Linear(width, 2 * width)
        self.output = nn.Linear(2 * width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(0.1)

    def split(self, x: Tensor) -> Tensor:
        return x.view(*x.size()[:-1], self.heads, self.dim).permute(0, 2, 1, 3)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(self.dim)
        scores = scores.masked_fill(padding[:, None, None, :], float("-inf"))
        context = torch.matmul(self.dropout(torch.softmax(scores, -1)), v)
        context = context.permute(0, 2, 1, 3).contiguous().view_as(x)
        x = self.norm1(x + self.dropout(self.dense(context)))
        return self.norm2(x + self.dropout(self.output(F.gelu(self.intermediate(x)))))


class Bert(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.word = nn.Embedding(17, width, padding_idx=0)
        self.position = nn.Embedding(8, width)
        self.kind = nn.Embedding(2, width)
        self.norm, self.dropout = nn.LayerNorm(width, eps=1e-12), nn.Dropout(0.1)
        self.layers = nn.ModuleList(BertLayer(width, 2) for _ in range(2))
        self.pooler, self.classifier = nn.Linear(width, width), nn.Linear(width, 3)
        self.register_buffer("position_ids", torch.arange(8).expand((1, -1)))

    def forward(self, ids: Tensor, attention_mask: Tensor, kinds: Tensor | None = None) -> Tensor:
        if kinds is None:
            kinds = torch.zeros_like(ids)
        x = self.word(ids) + self.kind(kinds)
        x += self.position(self.position_ids[:, : ids.size(1)])
        x = self.dropout(self.norm(x))
        for layer in self.layers:
            x = layer(x, attention_mask == 0)
        return self.classifier(self.dropout(torch.tanh(self.pooler(x[:, 0]))))


def bert() -> Example:
    ids, mask = tokens(3, 6).clamp(min=1), torch.ones(3, 6, dtype=torch.long)
    ids[1, 4:], mask[1, 4:] = 0, 0
    return Example(Bert(), (ids,), {"attention_mask": mask}, loss=classes(3))


# ── T5: encoder, decoder, cross attention, relative positions from an embedding ──────────────────
class RelativeAttention(nn.Module):
    def __init__(self, width: int, heads: int, relative: bool) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.bias = nn.Embedding(8, heads) if relative else None

    def positions(self, rows: int, columns: int) -> Tensor:
        distance = torch.arange(columns)[None, :] - torch.arange(rows)[:, None]
        return self.bias(distance.clamp(-4, 3) + 4).permute(2, 0, 1).unsqueeze(0)

    def forward(self, x: Tensor, memory: Tensor, causal: bool = False) -> Tensor:
        B, T, C = x.shape
        q, k, v = self.q(x), self.k(memory), self.v(memory)
        q, k, v = (t.view(B, -1, self.heads, C // self.heads).transpose(1, 2) for t in (q, k, v))
        scores = torch.einsum("bnqd,bnkd->bnqk", q, k)
        if self.bias is not None:
            scores = scores + self.positions(T, memory.shape[1])
        if causal:
            keep = torch.ones(T, T, dtype=torch.bool).tril()
            scores = torch.where(keep, scores, torch.finfo(scores.dtype).min)
        out = torch.einsum("bnqk,bnkd->bnqd", F.softmax(scores, dim=-1), v)
        return self.o(out.transpose(1, 2).reshape(B, T, C))


class T5(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.shared = nn.Embedding(17, width)
        self.norms = nn.ModuleList(RMSNorm(width) for _ in range(7))
        self.encoder = RelativeAttention(width, 2, relative=True)
        self.decoder = RelativeAttention(width, 2, relative=True)
        self.cross = RelativeAttention(width, 2, relative=False)
        self.wi, self.wo = nn.Linear(width, 32, bias=False), nn.Linear(32, width, bias=False)
        self.scale = width**-0.5

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        n, memory = self.norms, self.shared(source)
        normed = n[0](memory)
        memory = memory + self.encoder(normed, normed)
        memory = n[2](memory + self.wo(F.relu(self.wi(n[1](memory)))))
        x = self.shared(target)
        normed = n[3](x)
        x = x + self.decoder(normed, normed, causal=True)
        x = x + self.cross(n[4](x), memory)
        x = x + self.wo(F.relu(self.wi(n[5](x))))
        return F.linear(n[6](x) * self.scale, self.shared.weight)


def t5() -> Example:
    source, target = tokens(2, 6), tokens(2, 5)
    return Example(T5(), (source, target), loss=next_token(target))


# ── a mixture of experts, an embedding used twice, Fourier mixing ────────────────────────────────
class MixtureOfExperts(nn.Module):
    """Every token to the two experts of its largest gates, added back by index."""

    def __init__(self, width: int = 8, experts: int = 4) -> None:
        super().__init__()
        self.gate = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList(SwiGlu(width, 8) for _ in range(experts))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        weights, chosen = torch.topk(F.softmax(self.gate(flat), dim=1), 2, dim=-1)
        weights = weights / weights.sum(dim=-1, keepdim=True)
        out = torch.zeros_like(flat)
        mask = F.one_hot(chosen, len(self.experts)).permute(2, 1, 0)
        for number, expert in enumerate(self.experts):
            slot, token = torch.where(mask[number])
            out.index_add_(0, token, expert(flat[token]) * weights[token, slot, None])
        return out.view_as(x)


def mixture_of_experts() -> Example:
    return Example(MixtureOfExperts(), (torch.randn(2, 5, 8, requires_grad=True),))


class SkipGram(nn.Module):
    """One table read for the word and for its contexts, a positive and a negative one."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(17, 6)

    def forward(self, word: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        w = self.table(word)
        near = (w * self.table(positive)).sum(1)
        far = torch.bmm(self.table(negative), w.unsqueeze(2)).squeeze(2)
        return -(F.logsigmoid(near).mean() + F.logsigmoid(-far).sum(1).mean())


def skip_gram() -> Example:
    return Example(SkipGram(), (tokens(4), tokens(4), tokens(4, 3)))


class FNet(nn.Module):
    """Fourier transforms in the place of attention."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(17, width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 16), nn.GELU(), nn.Linear(16, width))
        self.head = nn.Linear(width, 3)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        x = self.norm(x + torch.fft.fft(torch.fft.fft(x, dim=-1), dim=-2).real)
        return self.head((x + self.mlp(x)).mean(1))


def fnet() -> Example:
    return Example(FNet(), (tokens(3, 5),), loss=classes(3))


MODELS: list[Maker] = [
    gpt, gpt_with_its_loss, llama, llama_complex, bert, t5, mixture_of_experts, skip_gram, fnet,
]  # fmt: skip
