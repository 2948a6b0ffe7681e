"""Tables of settings: the data, the training, the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from compare.description.config.base import Names, Positive, Table, as_table
from compare.description.data import datasets
from compare.description.data.dataset import INPUT


class DataConfig(Table):
    """A data set by name, or a file with its target; how columns are scaled and encoded."""

    dataset: str | None = None
    file: str | None = None
    target: Names = ()
    features: Names = ()
    inputs: dict[str, Annotated[Names, Field(min_length=1)]] = Field(default_factory=dict)
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    scale: Literal["none", "standard", "minmax"] = "none"
    target_scale: Literal["none", "standard", "minmax"] = "none"
    one_hot: Names = ()
    target_one_hot: bool = False
    target_kind: Literal["classes", "values"] = "classes"
    classes: Names = ()
    limit: Annotated[int, Field(ge=2)] | None = None
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.0  # share of rows that is never trained on
    args: dict[str, Any] = Field(default_factory=dict)

    @field_validator("target", "features", mode="before")
    @classmethod
    def _one_or_many(cls, names: Any) -> Any:
        return (names,) if isinstance(names, str) else names

    @field_validator("inputs", mode="before")
    @classmethod
    def _one_or_many_each(cls, inputs: Any) -> Any:
        if not isinstance(inputs, Mapping):
            return inputs
        return {key: (names,) if isinstance(names, str) else names for key, names in inputs.items()}

    @model_validator(mode="before")
    @classmethod
    def _collect(cls, table: Any) -> Any:
        """Default to the digits; a generated set's settings stand beside the other keys."""
        if not isinstance(table, Mapping):
            return table
        table = dict(table)
        if table.get("file") is None:
            table["dataset"] = table.get("dataset") or "digits"
            settings = datasets.settings_of(str(table["dataset"]))
            rest = {key: table.pop(key) for key in [*table] if key in settings}
            table["args"] = {**as_table(table.get("args")), **rest}
        return table

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.file is None:
            datasets.check(str(self.dataset), self.args)
            for key in ("target", "features", "inputs", "delimiter", "one_hot", "classes"):
                if getattr(self, key):
                    raise ValueError(f"key '{key}' is for a file; '{self.dataset}' has its own.")
        elif self.dataset is not None:
            raise ValueError("keys 'dataset' and 'file': give one of them, received both.")
        elif not self.target:
            raise ValueError("key 'target' is missing: name the column of the file to predict.")
        elif self.inputs and self.features:
            raise ValueError("keys 'features' and 'inputs': give one of them, received both.")
        return self


def input_names(data: Any) -> tuple[str, ...]:
    """Return the names of the network's inputs, given the table [data] or what was read from it."""
    table = data if isinstance(data, Mapping) else getattr(data, "__dict__", {})
    if table.get("file") is None:
        return datasets.inputs_of(str(table.get("dataset") or "digits"))
    return tuple(map(str, as_table(table.get("inputs")))) or (INPUT,)


class ScalerConfig(Table):
    """torch.amp.GradScaler's settings: the loss times a scale, which grows and backs off."""

    init_scale: Positive = 65536.0
    growth_factor: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 2.0
    backoff_factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    growth_interval: Annotated[int, Field(ge=1)] = 2000


class TrainConfig(Table):
    """How long, in what batches, and in what arithmetic."""

    steps: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | Literal["all"] = 32
    shuffle: bool = True
    drop_last: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    dtype: Literal["float64", "float32", "float16", "bfloat16"] = "float64"
    autocast: bool = False  # parameters in float32, dtype by torch.autocast's lists
    scaler: ScalerConfig | None = None  # torch.amp.GradScaler; true: with its defaults
    mode: Literal["lockstep", "free"] = "lockstep"
    evaluate: bool = False  # layers act as in evaluation: no dropout, running statistics
    threads: Annotated[int, Field(ge=1)] = 1
    device: Annotated[str, Field(pattern=r"^(cpu|mps|cuda(:\d+)?)$")] = "cpu"

    @field_validator("scaler", mode="before")
    @classmethod
    def _with_defaults(cls, scaler: Any) -> Any:
        return {True: {}, False: None}[scaler] if isinstance(scaler, bool) else scaler

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("keys 'steps' and 'epochs': give one of them, received both.")
        if self.autocast and not self.half:
            raise ValueError(
                f"key 'autocast': it is for half precision, and dtype is '{self.dtype}'. Set "
                'dtype = "bfloat16" or "float16", or leave autocast out.'
            )
        if self.scaler and not self.autocast:
            raise ValueError(
                "key 'scaler': torch unscales gradients of float32 parameters alone. Set "
                "autocast = true and a half as dtype, or leave scaler out."
            )
        return self

    @property
    def half(self) -> bool:
        """Whether torch computes in a format that NumPy has no arithmetic for."""
        return self.dtype in ("float16", "bfloat16")

    def rows_per_step(self, rows: int) -> int:
        """Return the batch size as a number."""
        return rows if self.batch_size == "all" else self.batch_size

    def steps_per_epoch(self, rows: int) -> int:
        """Return the number of batches in one pass over the data."""
        batch = self.rows_per_step(rows)
        return rows // batch if self.drop_last else -(-rows // batch)

    def total_steps(self, rows: int) -> int:
        """Return the number of steps; one epoch if neither `steps` nor `epochs` is given."""
        return self.steps or (self.epochs or 1) * self.steps_per_epoch(rows)


class CompareConfig(Table):
    """What is compared, and how it is judged."""

    gauge_every: Annotated[int, Field(ge=1)] = 1
    k: Positive = 256.0
    tolerance: (
        Annotated[tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]],
                  Field(strict=False)] | None
    ) = None  # fmt: skip
    input_gradient: bool = True
    drift: bool | Annotated[int, Field(ge=1)] = True  # or how many steps the free run has
    structural_zeros: Names = ()
    torch_layers: Names = ()  # computed by torch on both sides; "all" for every layer


class ParallelConfig(Table):
    """Workers that each see a shard of every batch, and what they make of their gradients."""

    workers: Annotated[int, Field(ge=2, le=64)] = 2
    shards: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] | None = None
    micro_batches: Annotated[int, Field(ge=1)] = 1  # whose gradients each worker adds up
    reduce: Literal["mean", "sum"] = "mean"
    whole_batch: bool = False  # losses weighed so that the step is that of one process
    sharded_states: bool = False  # each worker keeps the optimiser's state of its share (ZeRO)
    split: dict[str, Literal["columns", "rows"]] = Field(default_factory=dict)  # layers in parts
    timeout: Positive = 120.0  # seconds that the workers may take for one answer

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.shards is not None and len(self.shards) != self.workers:
            raise ValueError(
                f"key 'shards': one number of rows for each of {self.workers} workers, received "
                f"{len(self.shards)}. Give as many, or leave the key out for equal shards."
            )
        own = ("shards", "micro_batches", "reduce", "whole_batch", "sharded_states")
        defaults = type(self).model_fields
        beside = [key for key in own if getattr(self, key) != defaults[key].default]
        if self.split and beside:
            raise ValueError(
                f"key 'split': the workers share layers and see the whole batch, so there is no "
                f"{', no '.join(repr(key) for key in beside)}. Remove one or the other."
            )
        return self
