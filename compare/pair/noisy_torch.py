"""Torch's operations, every one of them off by a random rounding: for references.

A dispatch mode sees backward and custom Functions too. Fused kernels are run by torch's own
decompositions, so that their inner roundings are there.
"""

from __future__ import annotations

from inspect import unwrap
from typing import Any

import numpy as np

from compare.pair.noise import FUNCTION, exact, noisy, words

QUIET = words(
    "neg abs relu relu_ threshold threshold_backward where max min amax amin maximum minimum clamp "
    "clamp_min clamp_max cat stack index index_select gather scatter scatter_ index_put index_put_ "
    "_index_put_impl_ clone copy_ _to_copy zeros zeros_like ones ones_like full full_like fill_ "
    "zero_ sort topk sgn sign masked_fill masked_fill_ constant_pad_nd slice_backward "
    "select_backward embedding max_pool2d_with_indices max_pool2d_with_indices_backward floor ceil "
    "round trunc repeat flip roll tril triu detach empty empty_like new_zeros new_ones new_full "
    "new_empty arange scalar_tensor lift_fresh bernoulli rand randn hardtanh hardtanh_backward "
    "leaky_relu empty_strided new_empty_strided expand permute argmax median diagonal_backward "
    "unfold_backward slice_scatter select_scatter masked_scatter as_strided take eye nan_to_num "
    "lift_fresh_copy isnan isinf value_selecting_reduction_backward _unsafe_view _reshape_alias "
    "item _local_scalar_dense native_dropout remainder fmod nonzero unsafe_split split"
)
LINEAR = words("sum mean mm bmm addmm mv dot convolution nansum cumsum baddbmm addmv addbmm")
ALIKE = {"add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "sqrt": "sqrt"}
SINGLE = {"div", "sqrt", "rsqrt", "reciprocal", "square", "pow"}
FUSED = words(
    "gelu gelu_backward silu silu_backward elu elu_backward softplus softplus_backward mish "
    "mish_backward log_sigmoid_forward log_sigmoid_backward sigmoid_backward tanh_backward "
    "_softmax _log_softmax _softmax_backward_data _log_softmax_backward_data logsumexp "
    "native_layer_norm native_layer_norm_backward native_batch_norm native_batch_norm_backward "
    "_native_batch_norm_legit _native_batch_norm_legit_no_training native_group_norm "
    "native_group_norm_backward mse_loss mse_loss_backward binary_cross_entropy "
    "binary_cross_entropy_backward binary_cross_entropy_with_logits smooth_l1_loss huber_loss "
    "huber_loss_backward smooth_l1_loss_backward hardswish hardswish_backward hardsigmoid celu glu "
    "glu_backward std var_mean std_mean logaddexp addcmul addcdiv norm linalg_vector_norm "
    "xlogy cudnn_batch_norm"
)


def _softmax(x: Any, dim: int, _: bool) -> Any:
    e = (x - x.amax(dim, keepdim=True)).exp()
    return e / e.sum(dim, keepdim=True)


def _log_softmax(x: Any, dim: int, _: bool) -> Any:
    shifted = x - x.amax(dim, keepdim=True)
    return shifted - shifted.exp().sum(dim, keepdim=True).log()


def _std(x: Any, *how: Any, **options: Any) -> Any:
    return x.var(*how, **options).sqrt()


def _var_mean(x: Any, dim: Any = None, *how: Any, keepdim: bool = False, **options: Any) -> Any:
    if isinstance(dim, bool):  # is it unbiased? over all dimensions
        return _var_mean(x, None, dim)
    kept = how[1] if len(how) > 1 else keepdim
    var, total = x.var(dim, *how[:1], keepdim=kept, **options), x.sum(dim, keepdim=kept)
    return var, total / (x.numel() // var.numel())


PLAIN = {"_softmax": _softmax, "_log_softmax": _log_softmax, "std": _std, "var_mean": _var_mean}


def noisy_torch() -> Any:
    """Return a mode in which torch's float64 results err at random."""
    import torch
    from torch._decomp import decomposition_table, decompositions
    from torch.utils._python_dispatch import TorchDispatchMode

    class Mode(TorchDispatchMode):
        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            """Leave out the wrapper that imports torch's compiler: a second, and nothing of use."""
            return False

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            name, kwargs = func._schema.name.split("::")[1], kwargs or {}
            if name in FUSED and (found := decomposition_table.get(func)):
                with self:
                    return _decomposition(name, found, args, kwargs)(*args, **kwargs)
            if name.startswith(("linalg", "_linalg")) or name in ("inverse", "cholesky"):
                args = tuple(_normwise(x) if _is_double(x) else x for x in args)
            inputs = args
            if name[:-1] in ALIKE and name[-1] == "_" and _is_double(args[0]):
                inputs = (args[0].clone(), *args[1:])
            out = func(*args, **kwargs)
            if name not in QUIET:
                several = isinstance(out, tuple | list)
                for i, y in enumerate(out if several else (out,)):
                    if _is_double(y) and y.numel() and not _is_view(func, i):
                        _rounded(y, name.rstrip("_"), func, inputs, kwargs, i if several else None)
            return out

    def _decomposition(name: str, found: Any, args: tuple, kwargs: dict) -> Any:
        """Leave out torch's casts to other dtypes: they import SymPy and torch's compiler."""
        inner, named = unwrap(found), kwargs.values()
        tensors = [x for x in args if isinstance(x, torch.Tensor)]
        if any(hasattr(x, "numel") for x in named) or not all(map(_has_doubles, tensors)):
            return found
        plain = inner.__module__ == decompositions.__name__
        return PLAIN.get(name, inner if plain else found)

    def _has_doubles(x: Any) -> bool:
        return x.dtype == torch.float64 and x.numel() > 0

    def _is_double(x: Any) -> bool:
        return isinstance(x, torch.Tensor) and x.dtype == torch.float64

    def _normwise(x: Any) -> Any:
        v = numbers(x)
        size = np.full(v.shape, np.max(np.abs(v), initial=0.0))
        return x.new_tensor(noisy(v, "normwise", size))

    return Mode()


def numbers(x: Any) -> Any:
    """Return a tensor's numbers as an array; anything else as it is."""
    return x.detach().cpu().numpy() if hasattr(x, "detach") else x


def _is_view(func: Any, i: int) -> bool:
    returns = func._schema.returns
    alias = returns[min(i, len(returns) - 1)].alias_info
    return alias is not None and not alias.is_write


def _rounded(y: Any, name: str, func: Any, args: tuple, kwargs: dict, at: int | None) -> None:
    """Add a rounding's noise to an operation's result, in place."""
    import torch

    v = numbers(y).copy()
    with np.errstate(all="ignore"), torch.no_grad():
        size, where = _rounding(name, func, args, kwargs, at, v)
        changed = np.array(noisy(v, name, size, where)).reshape(v.shape)
        y.copy_(torch.from_numpy(changed))


def _rounding(name: str, func: Any, args: tuple, kwargs: dict, at: int | None, v: Any) -> Any:
    """Return the size of what was rounded (None: the result itself), and where nothing was."""
    tensors = [a for a in args if hasattr(a, "numel")]
    options = kwargs.get("alpha", 1) != 1 or kwargs.get("rounding_mode") is not None
    if name in ALIKE and len(args) <= 2 and not options:
        return None, exact(ALIKE[name], tuple(map(numbers, args)), v)
    if name in LINEAR:
        n = max(2.0, max((a.numel() for a in tensors), default=1) / max(v.size, 1))
        squares = func(*(a * a if _is_float(a) else a for a in args), **kwargs)
        squares = np.abs(numbers(squares if at is None else squares[at]))
        size = np.sqrt(squares * (1.0 if name == "mean" else n))
        short = all(bool((a == a.round()).all()) for a in tensors if _is_float(a))
        return size, True if short else None
    if name.startswith(("mul", "add")):
        return None, None
    size = (1.0 if name in SINGLE else FUNCTION) * np.abs(v)
    alone = len(args) == 1 and getattr(args[0], "shape", None) == v.shape
    return size, exact(name, (numbers(args[0]),), v) if alone else None


def _is_float(a: Any) -> bool:
    return hasattr(a, "is_floating_point") and a.is_floating_point()
