"""Models whose structure is the difficulty: sharing, loops, draws, hooks, writing in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

from tests.compare.mirror.example import Example, Maker, classes


# ── one module called several times; computed weights ────────────────────────────────────────────
class Siamese(nn.Module):
    """One tower, two inputs, a contrastive loss."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.PReLU(), nn.Linear(6, 3))

    def forward(self, a: Tensor, b: Tensor, same: Tensor) -> Tensor:
        distance = F.pairwise_distance(self.tower(a), self.tower(b))
        return torch.mean(same * distance.pow(2) + (1 - same) * F.relu(3.0 - distance).pow(2))


def siamese() -> Example:
    same = torch.tensor([1.0, 0.0, 1.0, 0.0])
    return Example(Siamese(), (torch.randn(4, 4), torch.randn(4, 4), same))


class Hypernetwork(nn.Module):
    """The weights of one layer are the output of another."""

    def __init__(self) -> None:
        super().__init__()
        self.code = nn.Parameter(torch.randn(3))
        self.weights, self.biases = nn.Linear(3, 5 * 4), nn.Linear(3, 5)
        self.kernel = nn.Linear(3, 2 * 1 * 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weights(self.code).view(5, 4), self.biases(self.code))
        return F.conv1d(y.unsqueeze(1), self.kernel(self.code).view(2, 1, 3), padding=1)


def hypernetwork() -> Example:
    return Example(Hypernetwork(), (torch.randn(3, 4),))


class Called(nn.Module):
    """A layer that is called with weights computed for this input (torch.func)."""

    def __init__(self) -> None:
        super().__init__()
        self.weights, self.layer = nn.Linear(4, 5 * 3 + 5), nn.Linear(3, 5)

    def forward(self, code: Tensor, x: Tensor) -> Tensor:
        own = self.weights(code.mean(0))
        computed = {"weight": own[:15].view(5, 3), "bias": own[15:]}
        return torch.func.functional_call(self.layer, computed, (x,)) + self.layer(x).sin()


def called_with_weights() -> Example:
    return Example(Called(), (torch.randn(2, 4), torch.randn(3, 3)))


class TiedAutoencoder(nn.Module):
    """The decoder's weight is the encoder's, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(5, 3)
        self.bias = nn.Parameter(torch.zeros(5))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.sigmoid(self.encoder(x))
        return F.mse_loss(h @ self.encoder.weight + self.bias, x)


def tied_autoencoder() -> Example:
    return Example(TiedAutoencoder(), (torch.randn(3, 5),))


class Recursive(nn.Module):
    """As many rounds as the data ask for; a branch that depends on a value."""

    def __init__(self) -> None:
        super().__init__()
        self.step, self.other = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        rounds = 0
        while x.norm() < 20 and rounds < 8:
            x = x + self.step(x).exp()
            rounds += 1
        return self.other(x) if x.sum().item() > 0 else self.step(x)


def data_dependent_loop() -> Example:
    return Example(Recursive(), (torch.randn(2, 3),))


# ── parametrisations and hooks ───────────────────────────────────────────────────────────────────
class Symmetric(nn.Module):
    def forward(self, X: Tensor) -> Tensor:
        return X.triu() + X.triu(1).transpose(-1, -2)


def weight_norm() -> Example:
    model = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(4, 5)), nn.Tanh(),
        parametrizations.weight_norm(nn.Linear(5, 3), dim=None),
    )  # fmt: skip
    return Example(model, (torch.randn(3, 4),))


def weight_norm_hooked() -> Example:
    """The deprecated form, still in many models: a hook before the forward."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        first = nn.utils.weight_norm(nn.Conv1d(2, 3, 3, padding=1))
    return Example(nn.Sequential(first, nn.Tanh()), (torch.randn(2, 2, 5),))


def spectral_norm() -> Example:
    model = nn.Sequential(
        parametrizations.spectral_norm(nn.Linear(4, 5)), nn.ReLU(), nn.Linear(5, 3)
    )
    return Example(model, (torch.randn(3, 4),))


def spectral_norm_hooked() -> Example:
    return Example(nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 5))), (torch.randn(3, 4),))


def parametrised() -> Example:
    """Somebody's own parametrisation, one weight used by two layers."""
    layer = nn.Linear(4, 4)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return Example(nn.Sequential(layer, nn.GELU(), layer), (torch.randn(3, 4),))


# ── draws ────────────────────────────────────────────────────────────────────────────────────────
class Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 5)
        self.mu, self.logvar = nn.Linear(5, 2), nn.Linear(5, 2)
        self.decoder = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 6))

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.encoder(x))
        mu, logvar = self.mu(h), self.logvar(h)
        std = torch.exp(0.5 * logvar)
        z = mu + torch.randn_like(std) * std
        likelihood = F.binary_cross_entropy(torch.sigmoid(self.decoder(z)), x, reduction="sum")
        return likelihood - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())


def vae() -> Example:
    return Example(Vae(), (torch.rand(3, 6),))


def dropouts() -> Example:
    """Every kind of dropout, one after the other."""
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.Dropout2d(0.3), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(),
        nn.Linear(16, 8), nn.AlphaDropout(0.2), nn.SELU(), nn.Dropout(0.4, inplace=True),
        nn.RReLU(), nn.Linear(8, 3),
    )  # fmt: skip
    return Example(model, (torch.randn(3, 2, 4, 4),), loss=classes(3))


class GumbelRouter(nn.Module):
    """A hard choice forwards, a soft one backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.codes = nn.Linear(4, 3), nn.Embedding(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        choice = F.gumbel_softmax(self.gate(x), tau=0.7, hard=True)
        return choice @ self.codes.weight


def gumbel_router() -> Example:
    return Example(GumbelRouter(), (torch.randn(3, 4),))


class VectorQuantiser(nn.Module):
    """VQ-VAE: nearest code, straight through, two losses with a detach each."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(5, 2), nn.Linear(2, 5)
        self.codebook = nn.Embedding(4, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = self.encoder(x)
        nearest = torch.cdist(z, self.codebook.weight).argmin(dim=1)
        q = self.codebook(nearest)
        commitment = F.mse_loss(q.detach(), z) * 0.25 + F.mse_loss(q, z.detach())
        q = z + (q - z).detach()
        reconstruction = self.decoder(q)
        return {"reconstruction": reconstruction, "loss": commitment}


def vector_quantiser() -> Example:
    x = torch.randn(4, 5)
    return Example(
        VectorQuantiser(),
        (x,),
        loss=lambda out: F.mse_loss(out["reconstruction"], x) + out["loss"],
    )


# ── what comes back ──────────────────────────────────────────────────────────────────────────────
@dataclass
class Output:
    loss: Tensor | None = None
    logits: Tensor | None = None


class ReturnsDataclass(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Output:
        logits = self.head(F.softsign(self.body(x)))
        return Output(None if labels is None else F.cross_entropy(logits, labels), logits)


def returns_dataclass() -> Example:
    return Example(ReturnsDataclass(), (torch.randn(3, 4),), {"labels": torch.tensor([0, 2, 1])})


def returns_dataclass_without_loss() -> Example:
    return Example(ReturnsDataclass(), (torch.randn(3, 4),))


# ── memory: a custom Function, checkpoints, writing in place ─────────────────────────────────────
class SwishFunction(torch.autograd.Function):
    """Swish that keeps its input alone (a right one)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, beta: Tensor) -> Tensor:
        ctx.save_for_backward(x, beta)
        return x * torch.sigmoid(beta * x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, beta = ctx.saved_tensors
        s = torch.sigmoid(beta * x)
        slope = s * (1 - s)
        return grads[0] * (s + beta * x * slope), (grads[0] * x * x * slope).sum().reshape(1)


swish = SwishFunction.apply  # kept before anybody looks


class MemorySwish(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.tensor([1.3]))

    def forward(self, x: Tensor) -> Tensor:
        return swish(x, self.beta)


def custom_function() -> Example:
    model = nn.Sequential(nn.Linear(4, 5), MemorySwish(), nn.Linear(5, 3))
    return Example(model, (torch.randn(3, 4),))


class ReverseGradient(torch.autograd.Function):
    """On purpose not the derivative of its forward: adversarial domain adaptation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return -0.5 * grads[0]


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)

    def inner(self, x: Tensor) -> Tensor:
        return torch.tanh(self.first(x)) * 2

    def forward(self, x: Tensor) -> Tensor:
        x = checkpoint(self.inner, x, use_reentrant=False)
        return checkpoint(self.second, x, use_reentrant=False)


def checkpointed() -> Example:
    return Example(Checkpointed(), (torch.randn(3, 4, requires_grad=True),))


class InPlace(nn.Module):
    """Everything that people write in place, and a view that sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        h.mul_(2).add_(0.1).neg_()
        h[:, :2] = F.relu_(h[:, 2:4] * 3)
        view = h.view(-1, 2, 3)
        h = self.b(h)
        h += view.flatten(1)
        h.masked_fill_(h > 4, 0.0)
        h[h < -1] = -1
        h[:, 0].clamp_(min=-0.5)
        return h.div_(h.detach().norm())


def in_place() -> Example:
    return Example(InPlace(), (torch.randn(3, 4),))


class MovingAverage(nn.Module):
    """A buffer that training updates, used in the forward; some parameters frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.head = nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 2)
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        x = self.frozen(x)
        if self.training:
            with torch.no_grad():
                self.mean.mul_(0.9).add_(x.mean(0), alpha=0.1)
                self.steps += 1
        return self.head(x - self.mean)


def moving_average() -> Example:
    return Example(MovingAverage(), (torch.randn(5, 4),))


class Unused(nn.Module):
    """A head that this input does not reach, and one whose output is thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.heads = nn.ModuleDict({name: nn.Linear(4, 2) for name in ("a", "b", "c")})

    def forward(self, x: Tensor, head: str = "a") -> Tensor:
        x = self.body(x).relu()
        self.heads["c"](x)
        return self.heads[head](x)


def unused_head() -> Example:
    return Example(Unused(), (torch.randn(3, 4),), {"head": "b"})


MODELS: list[Maker] = [
    siamese, hypernetwork, called_with_weights, tied_autoencoder, data_dependent_loop,
    weight_norm, weight_norm_hooked, spectral_norm, spectral_norm_hooked, parametrised, vae,
    dropouts, gumbel_router, vector_quantiser, returns_dataclass, returns_dataclass_without_loss,
    custom_function, checkpointed, in_place, moving_average, unused_head,
]  # fmt: skip
