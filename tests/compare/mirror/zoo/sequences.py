"""Models of sequences: packed recurrences, cells in a loop, scans, attention as einsum."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.compare.mirror.example import Example, Maker, classes, tokens


class PackedLstm(nn.Module):
    """Sentences of several lengths: packed, both directions, the last states joined."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(17, 6, padding_idx=0)
        self.lstm = nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True, dropout=0.2)
        self.head = nn.Linear(10, 3)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(
            self.embed(ids), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        _, (hidden, _) = self.lstm(packed)
        return self.head(torch.cat((hidden[-2], hidden[-1]), dim=1))


def padded(lengths: Tensor, length: int) -> Tensor:
    return tokens(len(lengths), length).clamp(min=1) * (torch.arange(length) < lengths[:, None])


def packed_lstm() -> Example:
    lengths = torch.tensor([3, 5, 2])
    return Example(PackedLstm(), (padded(lengths, 5), lengths), loss=classes(3))


class PackedGru(nn.Module):
    """A tagger: packed, unpacked, every step's output used; sequences start as they have learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(17, 6)
        self.gru, self.head = nn.GRU(6, 5, batch_first=True), nn.Linear(5, 4)
        self.start = nn.Linear(1, 5)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(
            self.embed(ids), lengths, batch_first=True, enforce_sorted=False
        )
        first = self.start(lengths[None, :, None].type_as(self.start.bias))
        out, last = self.gru(packed, first)
        out, _ = pad_packed_sequence(out, batch_first=True, padding_value=0.5)
        return self.head(out + last.transpose(0, 1))


def packed_gru() -> Example:
    lengths = torch.tensor([3, 2, 5])
    return Example(PackedGru(), (padded(lengths, 5), lengths))


class HandLstm(nn.Module):
    """The cell written out: four gates in one product, cut by chunk."""

    def __init__(self, size: int = 4, hidden: int = 5) -> None:
        super().__init__()
        self.hidden = hidden
        self.ih, self.hh = nn.Linear(size, 4 * hidden), nn.Linear(hidden, 4 * hidden, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h = x.new_zeros(x.size(0), self.hidden)
        c = torch.zeros_like(h)
        outputs = []
        for x_t in x.unbind(1):
            i, f, g, o = (self.ih(x_t) + self.hh(h)).chunk(4, 1)
            c = torch.sigmoid(f) * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, dim=1), (h, c)


def hand_lstm() -> Example:
    return Example(HandLstm(), (torch.randn(2, 4, 4),), loss=lambda out: out[0].pow(2).mean())


class CellLoop(nn.Module):
    """Stock cells, stepped; outputs written into a buffer made beforehand."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru, self.rnn = nn.LSTMCell(3, 4), nn.GRUCell(4, 4), nn.RNNCell(4, 3)

    def forward(self, x: Tensor) -> Tensor:  # (T, B, 3)
        state, h, r = None, None, torch.zeros(x.size(1), 3)
        out = torch.zeros_like(x)
        for t in range(len(x)):
            state = self.lstm(x[t], state)
            h = self.gru(state[0], h)
            r = self.rnn(h, r)
            out[t] = r
        return out


def cell_loop() -> Example:
    return Example(CellLoop(), (torch.randn(4, 2, 3),))


class SliceWriter(nn.Module):
    """The outputs of a recurrence go into columns of one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.step, self.read = nn.Linear(3 + 4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.size(0), 4)
        out = torch.empty(x.size(0), x.size(1), 4)
        for i in range(x.size(1)):
            h = torch.tanh(self.step(torch.cat([x[:, i], h], -1)))
            out[:, i] = h
        out[:, 0] *= 0.5
        return self.read(out)


def slice_writer() -> Example:
    return Example(SliceWriter(), (torch.randn(2, 3, 3),))


class Attentive(nn.Module):
    """A decoder that looks at the encoder's states (Bahdanau), fed its own choice half the time."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.encoder = nn.Embedding(17, 5), nn.GRU(5, 4, batch_first=True)
        self.cell = nn.GRUCell(5 + 4, 4)
        self.W, self.U, self.v = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 1)
        self.out = nn.Linear(4, 17)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        states, h = self.encoder(self.embed(source))
        h, word, logits = h.squeeze(0), target[:, 0], []
        for t in range(target.size(1)):
            energy = self.v(torch.tanh(self.W(states) + self.U(h).unsqueeze(1)))
            context = (F.softmax(energy, dim=1) * states).sum(dim=1)
            h = self.cell(torch.cat([self.embed(word), context], dim=-1), h)
            logits.append(self.out(h))
            word = target[:, t] if t % 2 else logits[-1].argmax(-1)
        return torch.stack(logits, 1)


def attentive() -> Example:
    source, target = tokens(2, 4), tokens(2, 3)
    return Example(
        Attentive(),
        (source, target),
        loss=lambda out: F.cross_entropy(out.transpose(1, 2), target),
    )


# ── state spaces ─────────────────────────────────────────────────────────────────────────────────
class Mamba(nn.Module):
    """A selective scan, step by step, behind a causal depthwise convolution."""

    def __init__(self, width: int = 6, state: int = 3) -> None:
        super().__init__()
        self.in_proj = nn.Linear(width, 2 * width, bias=False)
        self.conv1d = nn.Conv1d(width, width, 3, groups=width, padding=2)
        self.x_proj = nn.Linear(width, 1 + 2 * state, bias=False)
        self.dt_proj = nn.Linear(1, width)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, state + 1).repeat(width, 1)))
        self.D = nn.Parameter(torch.ones(width))
        self.out_proj, self.state = nn.Linear(width, width, bias=False), state

    def scan(self, u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        dA = torch.exp(torch.einsum("bld,dn->bldn", dt, A))
        dBu = torch.einsum("bld,bln,bld->bldn", dt, B, u)
        x, ys = torch.zeros_like(dA[:, 0]), []
        for i in range(u.shape[1]):
            x = dA[:, i] * x + dBu[:, i]
            ys.append(torch.einsum("bdn,bn->bd", x, C[:, i, :]))
        return torch.stack(ys, dim=1) + u * self.D

    def forward(self, x: Tensor) -> Tensor:
        x, z = self.in_proj(x).chunk(2, dim=-1)
        x = self.conv1d(x.transpose(1, 2))[:, :, : x.shape[1]].transpose(1, 2)
        x = F.silu(x)
        dt, B, C = torch.split(self.x_proj(x), [1, self.state, self.state], dim=-1)
        y = self.scan(x, F.softplus(self.dt_proj(dt)), -torch.exp(self.A_log), B, C)
        return self.out_proj(y * F.silu(z))


def mamba() -> Example:
    return Example(Mamba(), (torch.randn(2, 4, 6),))


class LinearRecurrence(nn.Module):
    """A diagonal recurrence in closed form: cumulative sums of logarithms (S5, RWKV)."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.decay, self.mix = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        log_a = F.logsigmoid(self.decay(x)).cumsum(dim=1)
        return torch.exp(log_a) * torch.cumsum(self.mix(x) * torch.exp(-log_a), dim=1)


def linear_recurrence() -> Example:
    return Example(LinearRecurrence(), (torch.randn(2, 4, 4),))


# ── attention in other words ─────────────────────────────────────────────────────────────────────
class EinsumAttention(nn.Module):
    def __init__(self, width: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.wq, self.wk, self.wv = (
            nn.Parameter(torch.randn(width, heads, width // heads) * 0.3) for _ in range(3)
        )
        self.wo = nn.Parameter(torch.randn(heads, width // heads, width) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        q = torch.einsum("btc,chd->bhtd", x, self.wq)
        k = torch.einsum("btc,chd->bhtd", x, self.wk)
        v = torch.einsum("btc,chd->bhtd", x, self.wv)
        weights = torch.einsum("bhqd,bhkd->bhqk", q, k).div(q.shape[-1] ** 0.5).softmax(dim=-1)
        return torch.einsum("bhqk,bhkd,hdc->bqc", weights, v, self.wo)


def einsum_attention() -> Example:
    return Example(EinsumAttention(), (torch.randn(2, 4, 8),))


class LinearAttention(nn.Module):
    """Katharopoulos' kernel: elu + 1, causal by a cumulative sum of outer products."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = F.elu(self.q(x)) + 1, F.elu(self.k(x)) + 1, self.v(x)
        kv = (k.unsqueeze(-1) * v.unsqueeze(-2)).cumsum(1)
        norm = 1 / (torch.einsum("btd,btd->bt", q, k.cumsum(1)) + 1e-6)
        return torch.einsum("btd,btde,bt->bte", q, kv, norm)


def linear_attention() -> Example:
    return Example(LinearAttention(), (torch.randn(2, 4, 6),))


class Stock(nn.Module):
    """nn.MultiheadAttention and the Transformer's layers as they come."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, 2, 12, dropout=0.1, batch_first=True), 2,
            enable_nested_tensor=False,
        )  # fmt: skip
        self.decoder = nn.TransformerDecoderLayer(
            width, 2, 12, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.pool = nn.MultiheadAttention(width, 2, batch_first=True)
        self.query = nn.Parameter(torch.randn(1, 1, width))

    def forward(self, source: Tensor, target: Tensor, padding: Tensor) -> Tensor:
        memory = self.encoder(source, src_key_padding_mask=padding)
        mask = nn.Transformer.generate_square_subsequent_mask(target.size(1), dtype=target.dtype)
        x = self.decoder(target, memory, tgt_mask=mask, memory_key_padding_mask=padding.clone())
        pooled, weights = self.pool(self.query.expand(len(x), -1, -1), x, x)
        return pooled.squeeze(1) + weights.mean()


def stock_transformer() -> Example:
    padding = torch.tensor([[False] * 4, [False, False, True, True]])
    args = (torch.randn(2, 4, 8), torch.randn(2, 3, 8), padding)
    return Example(Stock(), args)


MODELS: list[Maker] = [
    packed_lstm, packed_gru, hand_lstm, cell_loop, slice_writer, attentive, mamba,
    linear_recurrence, einsum_attention, linear_attention, stock_transformer,
]  # fmt: skip
