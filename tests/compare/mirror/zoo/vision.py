"""Models of images: convolutions, batch norms in place, patches, squeezes, skips and upsampling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.compare.mirror.example import Example, Maker, classes


# ── ResNet: batch norm, ReLU in place, the skip added in place ───────────────────────────────────
class BasicBlock(nn.Module):
    def __init__(self, inside: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = None
        if stride != 1 or inside != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(4, 4), BasicBlock(4, 4))
        self.layer2 = BasicBlock(4, 8, stride=2)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer2(self.layer1(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def resnet() -> Example:
    return Example(ResNet(), (torch.randn(3, 3, 12, 12),), loss=classes(3))


# ── MobileNet: depthwise separable, hard swish, squeeze and excite ───────────────────────────────
class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.fc2(F.relu(self.fc1(scale), inplace=True)))


class InvertedResidual(nn.Module):
    def __init__(self, channels: int, expanded: int, swish: bool) -> None:
        super().__init__()
        act = nn.Hardswish if swish else nn.ReLU6
        self.block = nn.Sequential(
            nn.Conv2d(channels, expanded, 1, bias=False),
            nn.BatchNorm2d(expanded),
            act(inplace=True),
            nn.Conv2d(expanded, expanded, 3, padding=1, groups=expanded, bias=False),
            nn.BatchNorm2d(expanded),
            act(inplace=True),
            SqueezeExcite(expanded),
            nn.Conv2d(expanded, channels, 1, bias=False),
            nn.BatchNorm2d(channels, momentum=0.01, eps=1e-3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


def mobilenet() -> Example:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        InvertedResidual(4, 8, swish=True),
        InvertedResidual(4, 6, swish=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2, inplace=True),
        nn.Linear(4, 3),
    )
    return Example(model, (torch.randn(3, 3, 8, 8),), loss=classes(3))


# ── DenseNet: everything before is concatenated ──────────────────────────────────────────────────
class DenseLayer(nn.Module):
    def __init__(self, inside: int, growth: int) -> None:
        super().__init__()
        self.norm, self.relu = nn.BatchNorm2d(inside), nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(inside, growth, 3, padding=1, bias=False)

    def forward(self, features: list[Tensor]) -> Tensor:
        out = self.conv(self.relu(self.norm(torch.cat(features, 1))))
        return F.dropout(out, p=0.1, training=self.training)


class DenseNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.layers = nn.ModuleList(DenseLayer(4 + 2 * i, 2) for i in range(3))
        self.transition = nn.Sequential(nn.BatchNorm2d(10), nn.ReLU(), nn.Conv2d(10, 5, 1))
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(features))
        x = F.avg_pool2d(self.transition(torch.cat(features, dim=1)), 2)
        return self.head(F.relu(x).mean(dim=(2, 3)))


def densenet() -> Example:
    return Example(DenseNet(), (torch.randn(2, 3, 6, 6),), loss=classes(2))


# ── U-Net: down, up by transposed convolution and by interpolation, skips concatenated ───────────
def double_conv(inside: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, out, 3, padding=1),
        nn.GroupNorm(2, out),
        nn.CELU(0.5, inplace=True),
        nn.Conv2d(out, out, 3, padding=1, padding_mode="reflect"),
        nn.InstanceNorm2d(out, affine=True),
        nn.ELU(),
    )


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.down3 = double_conv(1, 4), double_conv(4, 6), double_conv(6, 8)
        self.up2 = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.merge2, self.merge1 = double_conv(12, 6), double_conv(10, 4)
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.down3(F.max_pool2d(b, 2))
        up = self.up2(c)
        dy, dx = b.size(2) - up.size(2), b.size(3) - up.size(3)
        up = F.pad(up, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        up = self.merge2(torch.cat([b, up], dim=1))
        up = F.interpolate(up, scale_factor=2, mode="bilinear", align_corners=True)
        return self.out(self.merge1(torch.cat([a, up], dim=1)))


def unet() -> Example:
    target = torch.randint(2, (2, 12, 12))
    return Example(
        UNet(), (torch.randn(2, 1, 12, 12),), loss=lambda out: F.cross_entropy(out, target)
    )


# ── ViT: patches by a convolution, a class token in front ────────────────────────────────────────
class ViTBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.gamma = nn.Parameter(0.1 * torch.ones(width))

    def attention(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, 2, C // 2).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(B, N, C))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.gamma * self.attention(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x)), approximate="tanh"))


class ViT(nn.Module):
    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, kernel_size=4, stride=4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.randn(1, 5, width) * 0.02)
        self.blocks = nn.Sequential(*(ViTBlock(width) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 3)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        cls = self.cls_token.expand(x.shape[0], -1, -1)
        x = torch.cat((cls, x), dim=1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


def vit() -> Example:
    return Example(ViT(), (torch.randn(2, 3, 8, 8),), loss=classes(2))


# ── MLP-Mixer; windows that roll ─────────────────────────────────────────────────────────────────
class MixerBlock(nn.Module):
    def __init__(self, patches: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(patches, 6), nn.GELU(), nn.Linear(6, patches))
        self.channels = nn.Sequential(nn.Linear(width, 16), nn.GELU(), nn.Linear(16, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).permute(0, 2, 1)).permute(0, 2, 1)
        return x + self.channels(self.norm2(x))


class Mixer(nn.Module):
    """Patches by unfold."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.embed = nn.Linear(48, width)
        self.blocks = nn.ModuleList(MixerBlock(4, width) for _ in range(2))
        self.head = nn.Linear(width, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = images.unfold(2, 4, 4).unfold(3, 4, 4)  # (B, C, 2, 2, 4, 4)
        x = self.embed(x.permute(0, 2, 3, 1, 4, 5).reshape(len(images), 4, -1))
        for block in self.blocks:
            x = block(x)
        return self.head(x.amax(dim=1))


def mixer() -> Example:
    return Example(Mixer(), (torch.randn(2, 3, 8, 8),), loss=classes(2))


class ShiftedWindows(nn.Module):
    """Swin's attention: windows of a rolled image, a bias looked up by distance."""

    def __init__(self, width: int = 8, window: int = 2) -> None:
        super().__init__()
        self.window, self.scale = window, width**-0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.table = nn.Parameter(torch.randn((2 * window - 1) ** 2) * 0.1)
        at = torch.stack(torch.meshgrid(*[torch.arange(window)] * 2, indexing="ij")).flatten(1)
        apart = (at[:, :, None] - at[:, None, :] + window - 1).permute(1, 2, 0)
        self.register_buffer("index", apart[..., 0] * (2 * window - 1) + apart[..., 1])

    def forward(self, x: Tensor) -> Tensor:
        B, H, W, C = x.shape
        w = self.window
        x = torch.roll(x, shifts=(-1, -1), dims=(1, 2))
        x = x.view(B, H // w, w, W // w, w, C).permute(0, 1, 3, 2, 4, 5).reshape(-1, w * w, C)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = (q * self.scale) @ k.mT + self.table[self.index.view(-1)].view(w * w, w * w)
        x = self.proj(scores.softmax(-1) @ v)
        x = x.view(B, H // w, W // w, w, w, C).permute(0, 1, 3, 2, 4, 5).reshape(B, H, W, C)
        return torch.roll(x, shifts=(1, 1), dims=(1, 2))


def shifted_windows() -> Example:
    return Example(ShiftedWindows(), (torch.randn(2, 4, 4, 8),))


# ── ConvNeXt: channels last, layer scale, stochastic depth ───────────────────────────────────────
class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.gamma, self.drop = nn.Parameter(0.1 * torch.ones(width)), drop

    def path(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep = 1 - self.drop
        random = x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(keep)
        return x.div(keep) * random

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + self.path(y.permute(0, 3, 1, 2))


def convnext() -> Example:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 2, stride=2), ConvNeXtBlock(4, 0.3), ConvNeXtBlock(4, 0.5),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    return Example(model, (torch.randn(3, 3, 8, 8),), loss=classes(3))


MODELS: list[Maker] = [
    resnet, mobilenet, densenet, unet, vit, mixer, shifted_windows, convnext,
]  # fmt: skip
