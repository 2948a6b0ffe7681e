"""The whole configuration: its tables, what follows from them, and how they are written down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from compare.description.config.base import Table, flat
from compare.description.config.described import (
    InitConfig,
    LayerConfig,
    LossConfig,
    NetworkConfig,
    OptimizerConfig,
)
from compare.description.config.network import check_network, named_layers
from compare.description.config.settings import (
    CompareConfig,
    DataConfig,
    ParallelConfig,
    TrainConfig,
    input_names,
)
from compare.description.wanted import wants_labels


class Config(Table):
    """One run, described completely."""

    name: Annotated[str, Field(pattern=r"^\w[\w.+ -]*$", max_length=100)] = "run"
    summary: str = ""
    data: DataConfig = Field(default_factory=DataConfig)
    network: NetworkConfig | None = None  # makes the layers
    layers: Annotated[tuple[LayerConfig, ...], Field(strict=False, min_length=1)]
    tied: dict[str, str] = Field(default_factory=dict)  # a parameter that is another one
    loss: LossConfig = Field(default_factory=LossConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    parallel: ParallelConfig | None = None  # one process without it
    init: InitConfig = Field(default_factory=InitConfig)
    compare: CompareConfig = Field(default_factory=CompareConfig)

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, table: Any) -> Any:
        """Fill in what follows from the rest: layer names and inputs, the kind of targets."""
        if not isinstance(table, Mapping):
            return table
        table = dict(table)
        if table.get("network") is not None:
            table["layers"] = _made(table)
        data, kind = table.get("data", {}), target_kind(table.get("loss", {}))
        if isinstance(table.get("layers"), list | tuple):
            table["layers"] = named_layers(table["layers"], input_names(data))
        if isinstance(data, Mapping):
            table["data"] = {"target_kind": kind, **data}
        elif isinstance(data, DataConfig) and "target_kind" not in data.model_fields_set:
            table["data"] = data.model_copy(update={"target_kind": kind})
        return table

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_network(self.layers, self.inputs)
        if self.loss.args.get("reduction") == "none":
            raise ValueError(
                "[loss], key 'reduction': 'none' leaves one loss per element, and the loss of a "
                "step is one number. Choose 'mean' or 'sum'."
            )
        if self.data.target_kind == "classes":
            for key in ("target_one_hot", "target_scale"):
                if getattr(self.data, key) not in (False, "none"):
                    raise ValueError(
                        f"[data], key '{key}': {self.loss.type} takes class indices. Remove the "
                        "key, or choose a loss on numbers such as MSELoss."
                    )
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the network's inputs: what the data give."""
        return input_names(self.data)

    def as_dict(self) -> dict[str, Any]:
        """Return the tables as the file would hold them; what is not set is left out."""
        tables = flat(self)
        if self.network is not None:
            del tables["layers"]
        if tables["data"]["target_kind"] == target_kind(self.loss):
            del tables["data"]["target_kind"]
        return tables

    def to_toml(self) -> str:
        """Return a TOML file that loads as this very configuration."""
        import tomli_w

        return tomli_w.dumps(self.as_dict())


def _made(table: Mapping[str, Any]) -> Any:
    """Return the layers that [network] makes; of one that is wrong, one that will not be looked at.

    Raises:
        ValueError: there are layers beside it.
    """
    if "layers" in table:
        raise ValueError(
            "tables [network] and [[layers]]: the first makes the second. Change the keys of "
            "[network], or write all layers yourself and leave it out."
        )
    try:
        return NetworkConfig.model_validate(table["network"]).build()
    except ValueError:  # said where [network] itself is validated
        return [{"type": "Identity"}]


def target_kind(loss: Any) -> str:
    """Return what a loss (its table) takes as targets: class indices, or rows of numbers."""
    name = loss.get("type") if isinstance(loss, Mapping) else getattr(loss, "type", None)
    return "classes" if wants_labels(name or LossConfig.model_fields["type"].default) else "values"
