"""Every kind of cause that can be named, with an example: the table of docs/causes.md.

python -m compare.diagnose.causes.kinds     prints it
"""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """What a kind of cause says, and code that it is said of."""

    says: str
    example: str


GROUPS: dict[str, dict[str, Kind]] = {
    "A factor, a number": {
        "sign": Kind("manual is −1 × torch", "`dx = target − output`"),
        "factor 2": Kind("2, ½, 4 or ¼ × torch", "`dx = d / M` for `2 d / M`"),
        "batch size": Kind("N or 1/N × torch (also N², √N)", "`dW = dyᵀ x / N`"),
        "number of classes": Kind("C or 1/C × torch", "MSE divided by samples, not by elements"),
        "size": Kind("another length × torch", "divided by the number of inputs"),
        "sizes": Kind("a product or quotient of two lengths", "a sum where torch has a mean"),
        "n − 1": Kind("N/(N−1) or N/(N+1) × torch", "a variance with n − 1"),
        "setting": Kind("a setting c, 1/c, 1 − c or c/(1 − c) × torch", "`θ − g` without lr"),
        "constant factor": Kind("one number × torch, without a known meaning", "`1.0301 · dx`"),
        "constant value": Kind("the same number everywhere", "`loss = factor`, Σ d² lost"),
        "offset": Kind("torch + one number", "`y = log(1 + e^x) + 1`"),
        "clipped": Kind("torch, but no element beyond ±c", "`np.clip(dx, -1, 1)`"),
        "small constant": Kind("off smoothly, by a small part of each element",
                               "a constant of six digits, ε forgotten"),
        "zero": Kind("manual is 0", "`dx = dy * (y < 0)` behind a ReLU"),
        "no update": Kind("the parameter is what it was", "`return param`"),
        "factor per sample": Kind("one factor for each sample", "a weight per sample left out"),
        "factor per unit": Kind("one factor for each index of an axis", "pos_weight for weight"),
    },
    "Axes and shapes": {
        "transpose": Kind("torch transposed; J dy for Jᵀ dy", "`dW = x.T @ dy`"),
        "axes": Kind("torch with axes moved, reversed or shifted", "`dx[::-1]`"),
        "reshape": Kind("torch's elements in another order", "`x.reshape(H, N)` for `x.T`"),
        "empty slice": Kind("no elements at all", "`dx[:, p:-p]` with p = 0"),
        "shape": Kind("the same numbers in another shape", "`db` as (1, O)"),
        "missing sum": Kind("summed over an axis it is torch", "`db = dy`"),
        "extra sum": Kind("torch summed over an axis", "`dx = dy.sum(axis=0)`"),
        "wrong axis": Kind("a sum that runs along another axis", "softmax: `Σ` over the batch"),
        "cross terms missing": Kind("torch without its terms between elements",
                                    "softmax: `dy · y (1 − y)`"),
    },
    "The chain rule": {
        "upstream unchanged": Kind("manual is the upstream gradient", "`dx = dy`"),
        "upstream missing": Kind("the derivative without the upstream gradient", "`dx = 1 − y²`"),
        "upstream twice": Kind("dy² f′", "`dx = dy · dy · f′`"),
        "derivative twice": Kind("dy f′²", "`dx = dy (1 − y²)²`"),
        "value for derivative": Kind("dy f(x)", "`dx = dy · y`"),
        "derivative at the input": Kind("a formula of y, taken at x", "`dx = dy · x (1 − x)`"),
        "derivative at the output": Kind("a formula of x, taken at y", "`dx = dy · σ(y)`"),
        "wrong product": Kind("another matrix product of the right shape", "`dW = dyᵀ y`"),
        "another tensor": Kind("another known tensor", "gradients returned in the wrong order"),
        "wrong input": Kind("torch with an argument replaced: 0, 2 x, 1/x, another tensor",
                            "`dx` of a gate with `dy` cached for `x`"),
        "mirrored": Kind("torch at −x, or −torch at −x", "`np.minimum(x, s * x)` for `maximum`"),
        "inside a function": Kind("right behind the inverse function: 1/manual − 1/torch = 1",
                                  "`1 / (2 + e^−x)`"),
    },
    "Terms and factors of a formula": {
        "missing term": Kind("torch without a known term, or less a multiple of a known tensor",
                             "`(x g)′ = g`"),
        "extra term": Kind("a term twice, or a multiple of a tensor too much", "`dx = 2 a + b`"),
        "sign of a term": Kind("a term subtracted instead of added", "`dx = g − x g′`"),
        "factor on a term": Kind("one term is off by a factor, the others are right",
                                 "`g + x g′ / 2`"),
        "wrong factor": Kind("torch × a product of known tensors", "`dy · y / (1 − y)`"),
        "wrong term": Kind("torch + a product of known tensors", "`x + softplus − y²`"),
        "row term": Kind("a known tensor times one factor per row", "a norm's sum left out"),
        "mean not subtracted": Kind("torch once its mean is subtracted", "a norm not centred"),
        "fused formula": Kind("a loss's gradient with the activation's in it",
                              "`p − y` in BCELoss behind a sigmoid"),
        "branch not added": Kind("one branch's gradient overwrites the other's", "`grads[n] = g`"),
        "branch added twice": Kind("a branch's gradient is added twice", "`grads[n] += 2 g`"),
        "branch subtracted": Kind("a branch's gradient is subtracted", "`grads[n] −= g`"),
        "penalty missing": Kind("the gradient without the penalty's", "`dW = dyᵀ x`, λ forgotten"),
    },
    "Only somewhere": {
        "samples": Kind("off in some samples, or without them", "`dy[:-1].T @ x[:-1]`"),
        "units": Kind("off in some columns or rows", "`range(units − 1)`"),
        "one element": Kind("off in one element", "`dx[0, 0] = 0`"),
        "mask": Kind("off at named entries", "the true class's entries"),
        "ties": Kind("off where a known tensor is exactly 0", "`x >= 0` for `x > 0`"),
        "one side of zero": Kind("off where x > 0 only, or x < 0", "a leaky ReLU's slope"),
        "both sides of zero": Kind("a relation for x > 0, and another one for x ≤ 0",
                                   "the pieces exchanged"),
        "both sides of a border": Kind("the same with a setting as the border", "Huber's δ"),
        "range": Kind("off where a known tensor lies in a range", "the parabola beyond Huber's δ"),
        "border": Kind("off at the rim of the last two axes", "padding"),
        "not finite": Kind("NaN or infinity in a region that can be named", "`exp(x)` for large x"),
    },
    "A change of the code that mends it": {
        "overwritten": Kind("`+=` for `=`, `np.add.at` for `a[i] +=`",
                            "`dx[window] = d` in overlapping windows"),
        "missing path": Kind("forward's path through one variable, or one use of it, left out",
                             "a norm's variance taken as a constant"),
        "tied maximum": Kind("each of several equal maxima gets the whole gradient",
                             "`(x == x.max()) * dout`"),
        "rounded constant": Kind("a constant with more digits", "0.0447 for 0.044715"),
        "constant": Kind("another number", "`r ** 2` for `r ** 3`"),
        "power": Kind("another power", "`1 − t` for `1 − t²`"),
        "index": Kind("another index, slice or loop", "`dx[y]` for `dx[np.arange(N), y]`"),
        "another variable": Kind("another variable", "`dout * x` for `dout * xhat`"),
        "condition": Kind("another condition", "`x < 0` for `x > 0`"),
        "function": Kind("another function, one more or one less", "`argmin` for `argmax`"),
        "reduction": Kind("a sum for a mean, or a mean for a sum", "`dout.mean(axis=0)`"),
        "two causes": Kind("two changes together", "`-x @ dy` for `x.T @ dy`"),
        "extra statement": Kind("without a statement", "`dx[0] = 0`"),
    },
    "Settings and optimisers": {
        "argument": Kind("what torch gives with another argument (solved for, if a number)",
                         "`eps = 1e-7`, `alpha = 1`"),
        "decay": Kind("torch's step without weight decay", "`g` for `g + λ θ`"),
        "coupled decay": Kind("the decay in the gradient", "AdamW as Adam"),
        "decoupled decay": Kind("the decay outside the averages", "Adam as AdamW"),
        "bias correction": Kind("Adam's averages not corrected, or by another power", "`m / √v`"),
        "step count": Kind("torch's step with another count", "`t` for `t − 1`"),
        "epsilon": Kind("ε inside the root, scaled, or left out", "`√(v + ε)`"),
        "root": Kind("the root is missing", "`g / (v + ε)`"),
        "average": Kind("another running average", "`β a + g`"),
        "momentum": Kind("another momentum rule", "`μ b + lr g`"),
        "state forgotten": Kind("torch's step with an empty state", "state not handed on"),
        "clipping": Kind("torch's step with the gradients not clipped", "the factor not used"),
    },
    "Several workers (the step is run again with the mistake: docs/data-parallel.md)": {
        "divided twice": Kind("the mean is divided by W again", "`all_reduce(mean) / W`"),
        "sum instead of mean": Kind("the workers' sum", "`all_reduce(sum)`, not divided"),
        "mean instead of sum": Kind("the workers' mean for their sum", "a loss that sums"),
        "weighed by rows": Kind("gradients weighed by n_r / n", "DDP takes the plain mean"),
        "mean of means": Kind("losses not weighed by W n_r / n", "unequal shards"),
        "worker left out": Kind("the mean of the other workers", "a rank that returns early"),
        "worker left out of the sum": Kind("the others' sum, divided by W", "zeros from one rank"),
        "clipped before the exchange": Kind("clipped gradients are reduced",
                                            "`clip(g_r)`, then `all_reduce`"),
        "not exchanged": Kind("every worker's own gradients", "`no_sync()` in every step"),
        "not gathered": Kind("only its own share is moved", "ZeRO without all_gather"),
        "micro-batches not divided": Kind("M times the accumulated gradient", "`loss.backward()`"),
        "own statistics": Kind("each worker's own mean and variance", "BatchNorm alone"),
        "no all-reduce forward": Kind("a row split's own share for y", "`h_r @ W_r.T`"),
        "no all-reduce backward": Kind("a column split's own share for dx", "`dy_r @ W_r`"),
        "bias per worker": Kind("a row split's bias, W times", "`sum(h_r @ W_r.T + b)`"),
        "loss per worker": Kind("dy of all workers added behind a row split",
                                "all_reduce's own backward"),
    },
    "The code": {
        "arguments changed": Kind("an argument is changed in place", "`dy *= slope`"),
        "stale": Kind("backward uses an earlier call's numbers", "`self.x = x` in forward"),
        "exception": Kind("the code raised", "a shape that does not fit"),
        "missing tensor": Kind("torch returns it, manual does not", "a state not returned"),
        "extra tensor": Kind("manual returns it, torch does not", "a buffer without momentum"),
        "no array": Kind("a dict or tuple where an array belongs", "`return state, state`"),
        "dtype": Kind("right numbers in another dtype", "`np.zeros(n)` among float32"),
        "hidden float32": Kind("float32's rounding in float64", "`astype(np.float32)`"),
        "float32 only": Kind("right in float64", "`log(1 − p)` near 1"),
    },
}  # fmt: skip
KINDS: dict[str, Kind] = {name: kind for group in GROUPS.values() for name, kind in group.items()}


def table() -> str:
    """Return the table of docs/causes.md."""
    lines = ["| kind | what is said of manual | for example |", "| --- | --- | --- |"]
    for group, kinds in GROUPS.items():
        lines.append(f"| **{group}** | | |")
        lines += [f"| {name} | {kind.says} | {kind.example} |" for name, kind in kinds.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
