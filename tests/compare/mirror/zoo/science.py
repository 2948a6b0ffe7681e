"""Models of sets, graphs, fields, densities, pairs: gathers, scatters, sorts, logarithms."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.compare.mirror.example import Example, Maker, classes

EDGES = torch.tensor([[0, 1, 2, 3, 4, 0, 2], [1, 2, 3, 4, 0, 3, 1]])


# ── graphs ───────────────────────────────────────────────────────────────────────────────────────
class GraphConvolution(nn.Module):
    """Kipf and Welling: normalised by degrees, summed by index_add."""

    def __init__(self, inside: int, out: int) -> None:
        super().__init__()
        self.linear, self.bias = nn.Linear(inside, out, bias=False), nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        row, column = edges
        degree = torch.zeros(len(x))
        degree.scatter_add_(0, row, torch.ones_like(row, dtype=x.dtype))
        scale = degree.clamp(min=1).pow(-0.5)
        messages = self.linear(x).index_select(0, row) * (scale[row] * scale[column]).unsqueeze(1)
        return torch.zeros_like(messages[: len(x)]).index_add(0, column, messages) + self.bias


class GraphAttention(nn.Module):
    """Velickovic: a softmax over each node's neighbours, by scatter."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lin = nn.Linear(width, width, bias=False)
        self.a_src, self.a_dst = nn.Parameter(torch.randn(width)), nn.Parameter(torch.randn(width))

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        row, column = edges
        h = self.lin(x)
        alpha = F.leaky_relu((h * self.a_src).sum(-1)[row] + (h * self.a_dst).sum(-1)[column], 0.2)
        alpha = (alpha - alpha.max().detach()).exp()
        total = torch.zeros(len(x)).scatter_add(0, column, alpha)
        alpha = alpha / (total[column] + 1e-16)
        index = column.unsqueeze(1).expand(-1, h.size(1))
        return torch.zeros_like(h).scatter_add_(0, index, alpha.unsqueeze(1) * h[row])


class GraphNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = GraphConvolution(3, 4), GraphAttention(4)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor, edges: Tensor, batch: Tensor) -> Tensor:
        x = F.elu(self.second(F.relu(self.first(x, edges)), edges))
        index = batch[:, None].expand_as(x)
        mean = x.new_zeros(2, 4).scatter_reduce(0, index, x, reduce="mean", include_self=False)
        most = x.new_zeros(2, 4).scatter_reduce(0, index, x, reduce="amax", include_self=False)
        return self.head(torch.cat([mean, most], dim=1))


def graph_network() -> Example:
    batch = torch.tensor([0, 0, 0, 1, 1])
    return Example(GraphNetwork(), (torch.randn(5, 3), EDGES, batch), loss=classes(2))


class DeepSets(nn.Module):
    """Padded sets of points: a sum over the members, a maximum, a soft maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(3, 6), nn.SiLU(), nn.Linear(6, 4))
        self.rho = nn.Sequential(nn.Linear(12, 6), nn.Mish(), nn.Linear(6, 2))

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        h = self.phi(x)
        mean = (h * present.unsqueeze(-1)).sum(1) / present.sum(1, keepdim=True).clamp(min=1)
        hidden = h.masked_fill(~present.bool().unsqueeze(-1), -1e9)
        soft = torch.logsumexp(hidden, dim=1)
        return self.rho(torch.cat([mean, hidden.max(dim=1).values, soft], dim=-1))


def deep_sets() -> Example:
    present = torch.tensor([[1.0, 1, 1, 0], [1, 1, 0, 0]])
    return Example(DeepSets(), (torch.randn(2, 4, 3), present))


class Ranking(nn.Module):
    """Scores sorted, ranked, discounted and cut: sort, gather, cumsum, logcumsumexp, topk."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))

    def forward(self, x: Tensor, relevance: Tensor) -> Tensor:
        scores = self.score(x).squeeze(-1)
        order = relevance.argsort(dim=1, descending=True)
        ranked = scores.gather(1, order)
        plackett_luce = torch.logcumsumexp(ranked.flip(1), dim=1).flip(1) - ranked
        ordered, _ = scores.sort(dim=1, descending=True)
        gaps = F.softplus(ordered[:, 1:] - ordered[:, :-1])
        best = scores.topk(2, dim=1).values.mean() + scores.median(dim=1).values.mean()
        return plackett_luce.mean() + gaps.cumsum(1).mean() - 0.1 * best


def ranking() -> Example:
    return Example(Ranking(), (torch.randn(3, 5, 4), torch.rand(3, 5)))


# ── densities ────────────────────────────────────────────────────────────────────────────────────
class Coupling(nn.Module):
    """Half of the vector scales and shifts the other half (RealNVP)."""

    def __init__(self, flip: bool) -> None:
        super().__init__()
        self.flip = flip
        self.net = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = x.chunk(2, dim=1)
        if self.flip:
            a, b = b, a
        s, t = self.net(a).split(2, dim=1)
        s = torch.tanh(s)
        y = torch.cat([a, b * torch.exp(s) + t], 1)
        return y, s.sum(dim=1)


class InvertibleLinear(nn.Module):
    """Glow's one-by-one convolution: the logarithm of a determinant."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linalg.qr(torch.randn(4, 4))[0].contiguous())
        self.log_scale = nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = torch.linalg.slogdet(self.weight)[1] + self.log_scale.sum()
        return x @ self.weight.T * self.log_scale.exp(), logdet.expand(len(x))


class Flow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Coupling(False), InvertibleLinear(), Coupling(True)])

    def forward(self, x: Tensor) -> Tensor:
        logdet = torch.zeros(x.shape[0])
        for layer in self.layers:
            x, change = layer(x)
            logdet = logdet + change
        prior = -0.5 * (x**2 + math.log(2 * math.pi)).sum(dim=-1)
        return -(prior + logdet).mean()


def flow() -> Example:
    return Example(Flow(), (torch.randn(4, 4),))


class MixtureDensity(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.heads = nn.Linear(2, 6), nn.Linear(6, 9)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        logits, mu, scale = torch.tensor_split(self.heads(torch.tanh(self.body(x))), 3, dim=1)
        sigma = F.softplus(scale) + 1e-3
        z = (y.unsqueeze(1) - mu) / sigma
        log_p = -0.5 * z.square() - torch.log(sigma) - 0.5 * math.log(2 * math.pi)
        return -torch.logsumexp(F.log_softmax(logits, dim=1) + log_p, dim=1).mean()


def mixture_density() -> Example:
    return Example(MixtureDensity(), (torch.randn(4, 2), torch.randn(4)))


# ── fields ───────────────────────────────────────────────────────────────────────────────────────
class NeuralField(nn.Module):
    """NeRF: sines of the coordinates, densities summed along a ray into transmittance."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bands", 2.0 ** torch.arange(3))
        self.net = nn.Sequential(nn.Linear(21, 8), nn.ReLU(True), nn.Linear(8, 4))

    def encode(self, x: Tensor) -> Tensor:
        angles = (x[..., None] * self.bands).flatten(-2)
        return torch.cat([x, angles.sin(), angles.cos()], dim=-1)

    def forward(self, points: Tensor, depths: Tensor) -> Tensor:  # (R, S, 3), (R, S)
        raw = self.net(self.encode(points))
        colour, density = torch.sigmoid(raw[..., :3]), F.relu(raw[..., 3])
        deltas = torch.cat([depths.diff(dim=1), torch.full_like(depths[:, :1], 1e2)], dim=-1)
        alpha = 1.0 - torch.exp(-density * deltas)
        through = torch.cumprod(1.0 - alpha + 1e-10, dim=-1)
        through = torch.cat([torch.ones_like(through[:, :1]), through[:, :-1]], dim=-1)
        return ((alpha * through)[..., None] * colour).sum(dim=-2)


def neural_field() -> Example:
    depths = torch.rand(3, 4).cumsum(1)
    return Example(NeuralField(), (torch.randn(3, 4, 3), depths))


class HeatEquation(nn.Module):
    """A solver that is differentiated through: finite differences, Euler steps, a learnt source."""

    def __init__(self) -> None:
        super().__init__()
        self.log_diffusivity = nn.Parameter(torch.tensor(-1.0))
        self.source = nn.Linear(8, 8)

    def forward(self, u: Tensor) -> Tensor:
        energy = []
        for _ in range(3):
            laplacian = torch.roll(u, 1, dims=-1) - 2 * u + torch.roll(u, -1, dims=-1)
            u = u + 0.1 * (self.log_diffusivity.exp() * laplacian + torch.sin(self.source(u)))
            energy.append(torch.trapezoid(u**2, dx=0.1, dim=-1))
        return torch.stack(energy).sum() + torch.hypot(u[..., 0], u[..., -1]).mean()


def heat_equation() -> Example:
    return Example(HeatEquation(), (torch.randn(2, 8),))


class InteratomicPotential(nn.Module):
    """Distances, a smooth cutoff, a sum over pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.linspace(0.5, 2.5, 4))
        self.net = nn.Sequential(nn.Linear(4, 6), nn.Softplus(), nn.Linear(6, 1))

    def forward(self, r: Tensor) -> Tensor:
        i, j = torch.triu_indices(len(r), len(r), offset=1)
        d = torch.linalg.vector_norm(r[i] - r[j], dim=-1)
        cutoff = torch.where(d < 3.0, 0.5 * (torch.cos(math.pi * d / 3.0) + 1), 0.0)
        features = torch.exp(-4.0 * (d[:, None] - self.centres) ** 2) * cutoff[:, None]
        return self.net(features).sum()


def interatomic_potential() -> Example:
    return Example(InteratomicPotential(), (torch.randn(5, 3, requires_grad=True),))


# ── pairs ────────────────────────────────────────────────────────────────────────────────────────
class Clip(nn.Module):
    """Two towers, normalised, a learnt temperature, cross-entropy both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = nn.Linear(6, 4), nn.EmbeddingBag(17, 4, mode="mean")
        self.logit_scale = nn.Parameter(torch.ones([]) * math.log(1 / 0.07))

    def forward(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        image = F.normalize(self.image(images), dim=-1)
        text = self.text(texts)
        text = text / text.norm(dim=1, keepdim=True)
        logits = self.logit_scale.exp() * image @ text.t()
        return logits, logits.t()


def clip() -> Example:
    labels = torch.arange(3)
    return Example(
        Clip(),
        (torch.randn(3, 6), torch.randint(17, (3, 4))),
        loss=lambda out: (F.cross_entropy(out[0], labels) + F.cross_entropy(out[1], labels)) / 2,
    )


class FactorisationMachine(nn.Module):
    """Click prediction: half the difference of the square of the sum and the sum of squares."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.factors = nn.Embedding(12, 1), nn.Embedding(12, 4)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, fields: Tensor, clicked: Tensor) -> Tensor:
        v = self.factors(fields)
        pairs = 0.5 * (v.sum(dim=1).pow(2) - v.pow(2).sum(dim=1)).sum(dim=1, keepdim=True)
        logits = (self.bias + self.linear(fields).sum(1) + pairs).squeeze(1)
        return F.binary_cross_entropy_with_logits(logits, clicked)


def factorisation_machine() -> Example:
    return Example(
        FactorisationMachine(), (torch.randint(12, (4, 3)), torch.tensor([1.0, 0.0, 1.0, 1.0]))
    )


class Ppo(nn.Module):
    """Reinforcement learning: ratios clipped, a value loss, an entropy bonus."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.Tanh())
        self.policy, self.value = nn.Linear(8, 3), nn.Linear(8, 1)

    def forward(self, state: Tensor, action: Tensor, old: Tensor, gain: Tensor) -> Tensor:
        h = self.body(state)
        log_p = F.log_softmax(self.policy(h), dim=-1)
        chosen = log_p.gather(1, action.unsqueeze(1)).squeeze(1)
        ratio = torch.exp(chosen - old)
        surrogate = torch.min(ratio * gain, torch.clamp(ratio, 0.8, 1.2) * gain)
        value = F.smooth_l1_loss(self.value(h).squeeze(-1), gain)
        entropy = -(log_p.exp() * log_p).sum(-1).mean()
        return -surrogate.mean() + 0.5 * value - 0.01 * entropy


def ppo() -> Example:
    action = torch.randint(3, (6,))
    return Example(Ppo(), (torch.randn(6, 4), action, -torch.rand(6) - 0.5, torch.randn(6)))


MODELS: list[Maker] = [
    graph_network, deep_sets, ranking, flow, mixture_density, neural_field, heat_equation,
    interatomic_potential, clip, factorisation_machine, ppo,
]  # fmt: skip
