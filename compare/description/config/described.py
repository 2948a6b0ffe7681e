"""Tables that describe one hand-written object each: layers, loss, optimizer, initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from compare.description.config.arguments import construct
from compare.description.config.base import Described, Names, Positive, Table, collected
from compare.description.networks import NETWORKS
from manual import registry


class LayerConfig(Described):
    """One node: its layer with torch's arguments, its name, and what feeds it."""

    type: str
    name: Annotated[str, Field(pattern=r"^(\w+(\.\w+)*(@\w+)?)?$")] = ""
    inputs: Names = ()

    @classmethod
    def registered(cls) -> tuple[str, Mapping[str, Any]]:
        return "layer", registry.LAYERS | registry.GATES | registry.MASKS

    @field_validator("inputs", mode="before")
    @classmethod
    def _one_or_many(cls, inputs: Any) -> Any:
        return (inputs,) if isinstance(inputs, str) else inputs


class NetworkConfig(Described):
    """A rule that makes the layers, and its sizes."""

    type: str

    @classmethod
    def registered(cls) -> tuple[str, Mapping[str, Any]]:
        return "network", NETWORKS


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


class GroupConfig(Table):
    """Settings of the optimiser for the parameters that `parameters` (glob patterns) names."""

    parameters: Annotated[Names, Field(min_length=1)]
    args: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _collect(cls, table: Any) -> Any:
        return collected(cls, table)


class OptimizerConfig(Described):
    """The optimiser with torch's arguments, groups, its schedule, and gradient clipping."""

    type: str = "SGD"
    schedule: ScheduleConfig | None = None
    clip_norm: Positive | None = None
    clip_value: Positive | None = None
    groups: Annotated[tuple[GroupConfig, ...], Field(strict=False)] = ()

    @classmethod
    def registered(cls) -> tuple[str, Mapping[str, Any]]:
        return "optimizer", registry.OPTIMIZERS

    def arguments(self) -> dict[str, Any]:
        """Return the rule's arguments; which implementation of it runs is said to torch alone."""
        chosen = registry.OPTIMIZERS[self.type].implementations
        return {key: value for key, value in self.args.items() if key not in chosen}

    def build_group(self, group: GroupConfig) -> Any:
        """Return what moves a group's parameters."""
        return construct(self.type, registry.OPTIMIZERS[self.type], self.arguments() | group.args)

    @model_validator(mode="after")
    def _fits_groups(self) -> Self:
        chosen = registry.OPTIMIZERS[self.type].implementations
        for number, group in enumerate(self.groups, 1):
            try:
                for key in ("lr", *chosen):
                    if key in group.args:
                        raise ValueError(f"key '{key}': it is the same for all groups.")
                self.build_group(group)
            except ValueError as error:
                raise ValueError(f"groups, table {number}, {error}") from None
        return self

    @model_validator(mode="after")
    def _fits_a_run(self) -> Self:
        cls = registry.OPTIMIZERS[self.type]
        if cls.needs:
            raise ValueError(f"key 'type': {self.type} needs {cls.needs}.")
        for key in cls.implementations:
            if not isinstance(value := self.args.get(key, False), bool):
                raise ValueError(f"key '{key}' is true or false, received {value!r}.")
        return self


class InitConfig(Described):
    """How weights are drawn (`scheme` and its arguments), or the file that they are read from."""

    named_by: ClassVar[str] = "scheme"
    scheme: str = "default"
    bias: Literal["default", "zeros", "normal"] | float | None = None
    file: str | None = None

    @classmethod
    def registered(cls) -> tuple[str, Mapping[str, Any]]:
        return "init scheme", registry.INITIALIZERS
