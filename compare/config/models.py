"""Frozen models of a run's description, checked against the hand-written classes.

A table that describes one object (`[[layers]]`, `[loss]`, `[optimizer]`, `[init]`, …) takes the
object's constructor arguments beside the keys named here; they are collected in `args`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from compare.config.arguments import check_type, construct
from compare.config.network import check_network, named_layers
from compare.data import datasets
from manual import registry

CLASS_LOSSES = ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss", "MulticlassHingeLoss")

Names = Annotated[tuple[str, ...], Field(strict=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def target_kind(loss: Any) -> str:
    """Return what a loss (its table) takes as targets: class indices, or rows of numbers."""
    name = loss.get("type") if isinstance(loss, Mapping) else getattr(loss, "type", None)
    return "classes" if (name or "CrossEntropyLoss") in CLASS_LOSSES else "values"


class Table(BaseModel):
    """One table of the file: every key is known, and nothing is converted silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Described(Table):
    """A table whose other keys are the constructor arguments of the class that it names."""

    named_by: ClassVar[str] = "type"
    args: dict[str, Any] = {}

    @classmethod
    def registered(cls) -> tuple[str, Mapping[str, Any]]:
        """Return what the table describes, in words, and the classes to choose from."""
        raise NotImplementedError

    @model_validator(mode="before")
    @classmethod
    def _collect(cls, table: Any) -> Any:
        if not isinstance(table, Mapping):
            return table
        own = {key: value for key, value in table.items() if key in cls.model_fields}
        rest = {key: value for key, value in table.items() if key not in cls.model_fields}
        return {**own, "args": {**own.get("args", {}), **rest}}  # unknown keys: see _check

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.build()
        return self

    def build(self) -> Any:
        """Return the object that the table describes.

        Raises:
            ValueError: there is no such class, or it refuses these arguments.
        """
        kind, classes = self.registered()
        name = getattr(self, self.named_by)
        check_type(kind, name, classes, self.named_by)
        return construct(name, classes[name], self.arguments())

    def arguments(self) -> dict[str, Any]:
        """Return what the constructor is given."""
        return self.args


class LayerConfig(Described):
    """One node: its layer with torch's arguments, its name, and what feeds it."""

    type: str
    name: Annotated[str, Field(pattern=r"^(\w+(\.\w+)*)?$")] = ""
    inputs: Names = ()

    @classmethod
    def registered(cls) -> tuple[str, Mapping[str, Any]]:
        return "layer", registry.LAYERS

    @field_validator("inputs", mode="before")
    @classmethod
    def _one_or_many(cls, inputs: Any) -> Any:
        return (inputs,) if isinstance(inputs, str) else inputs


class PenaltyConfig(Described):
    """A term added to the loss for each parameter that `parameters` (glob patterns) names."""

    type: str
    coefficient: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    parameters: Annotated[Names, Field(min_length=1)] = ("*weight",)

    @classmethod
    def registered(cls) -> tuple[str, Mapping[str, Any]]:
        return "penalty", registry.PENALTIES

    def arguments(self) -> dict[str, Any]:
        return {"coefficient": self.coefficient, **self.args}


class LossConfig(Described):
    """The loss with torch's arguments, and penalties on parameters."""

    type: str = "CrossEntropyLoss"
    penalties: Annotated[tuple[PenaltyConfig, ...], Field(strict=False)] = ()

    @classmethod
    def registered(cls) -> tuple[str, Mapping[str, Any]]:
        return "loss", registry.LOSSES


class ScheduleConfig(Described):
    """The learning rate as a function of the step."""

    type: str

    @classmethod
    def registered(cls) -> tuple[str, Mapping[str, Any]]:
        return "schedule", registry.SCHEDULES


class OptimizerConfig(Described):
    """The optimiser with torch's arguments, its schedule, and gradient clipping."""

    type: str = "SGD"
    schedule: ScheduleConfig | None = None
    clip_norm: Positive | None = None
    clip_value: Positive | None = None

    @classmethod
    def registered(cls) -> tuple[str, Mapping[str, Any]]:
        return "optimizer", registry.OPTIMIZERS


class InitConfig(Described):
    """How weights are drawn (`scheme` and its arguments), or the file that they are read from."""

    named_by: ClassVar[str] = "scheme"
    scheme: str = "default"
    bias: Literal["default", "zeros", "normal"] | float | None = None
    file: str | None = None

    @classmethod
    def registered(cls) -> tuple[str, Mapping[str, Any]]:
        return "init scheme", registry.INITIALIZERS


class DataConfig(Table):
    """A data set by name, or a file with its target; how columns are scaled and encoded."""

    dataset: str | None = None
    file: str | None = None
    target: Names = ()
    features: Names = ()
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    scale: Literal["none", "standard", "minmax"] = "none"
    target_scale: Literal["none", "standard", "minmax"] = "none"
    one_hot: Names = ()
    target_one_hot: bool = False
    target_kind: Literal["classes", "values"] = "classes"
    classes: Names = ()
    limit: Annotated[int, Field(ge=2)] | None = None
    args: dict[str, Any] = {}

    @field_validator("target", "features", mode="before")
    @classmethod
    def _one_or_many(cls, names: Any) -> Any:
        return (names,) if isinstance(names, str) else names

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
            table["args"] = {**table.get("args", {}), **rest}
        return table

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.file is None:
            datasets.check(str(self.dataset), self.args)
            for key in ("target", "features", "delimiter", "one_hot", "classes"):
                if getattr(self, key):
                    raise ValueError(f"key '{key}' is for a file; '{self.dataset}' has its own.")
        elif self.dataset is not None:
            raise ValueError("keys 'dataset' and 'file': give one of them, received both.")
        elif not self.target:
            raise ValueError("key 'target' is missing: name the column of the file to predict.")
        return self


class TrainConfig(Table):
    """How long, in what batches, and in what arithmetic."""

    steps: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | Literal["all"] = 32
    shuffle: bool = True
    drop_last: bool = False
    seed: Annotated[int, Field(ge=0)] = 0
    dtype: Literal["float64", "float32"] = "float64"
    mode: Literal["lockstep", "free"] = "lockstep"
    threads: Annotated[int, Field(ge=1)] = 1
    device: Annotated[str, Field(pattern=r"^(cpu|mps|cuda(:\d+)?)$")] = "cpu"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("keys 'steps' and 'epochs': give one of them, received both.")
        return self

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
    drift: bool = True
    structural_zeros: Names = ()


class Config(Table):
    """One run, described completely."""

    name: Annotated[str, Field(pattern=r"^\w[\w.+ -]*$", max_length=100)] = "run"
    summary: str = ""
    data: DataConfig = Field(default_factory=DataConfig)
    layers: Annotated[tuple[LayerConfig, ...], Field(strict=False, min_length=1)]
    loss: LossConfig = Field(default_factory=LossConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    init: InitConfig = Field(default_factory=InitConfig)
    compare: CompareConfig = Field(default_factory=CompareConfig)

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, table: Any) -> Any:
        """Fill in what follows from the rest: layer names and inputs, the kind of targets."""
        if not isinstance(table, Mapping):
            return table
        table = dict(table)
        if isinstance(table.get("layers"), list | tuple):
            table["layers"] = named_layers(table["layers"])
        data = table.get("data", {})
        if isinstance(data, Mapping):
            table["data"] = {"target_kind": target_kind(table.get("loss", {})), **data}
        return table

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_network(self.layers)
        if self.data.target_kind == "classes":
            for key in ("target_one_hot", "target_scale"):
                if getattr(self.data, key) not in (False, "none"):
                    raise ValueError(
                        f"[data], key '{key}': {self.loss.type} takes class indices. Remove the "
                        "key, or choose a loss on numbers such as MSELoss."
                    )
        return self

    def as_dict(self) -> dict[str, Any]:
        """Return the tables as the file would hold them; what is not set is left out."""
        tables = flat(self)
        if tables["data"]["target_kind"] == target_kind(self.loss):
            del tables["data"]["target_kind"]
        return tables

    def to_toml(self) -> str:
        """Return a TOML file that loads as this very configuration."""
        import tomli_w

        return tomli_w.dumps(self.as_dict())


def flat(value: Any) -> Any:
    """Return plain dictionaries and lists, with `args` beside the other keys and no None."""
    if isinstance(value, Table):
        fields = {key: flat(item) for key, item in value if item is not None and key != "args"}
        return {**fields, **flat(getattr(value, "args", {}))}
    if isinstance(value, Mapping):
        return {key: flat(item) for key, item in value.items() if item is not None}
    return [flat(item) for item in value] if isinstance(value, list | tuple) else value
