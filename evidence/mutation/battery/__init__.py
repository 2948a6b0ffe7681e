"""The checks that every mutant must survive; each compares hand-written code with stock torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evidence.mutation.battery.base import Check, Kill, verdict

__all__ = ["Check", "Kill", "battery", "battery_for", "verdict"]

Table = Callable[[], Sequence[Check]]
GATES = ("manual.gates.", "manual.recurrent.packed.")


def battery() -> list[Check]:
    """Return every check but torch's samples, in a fixed order."""
    from evidence.mutation.battery.clipping import clip_checks
    from evidence.mutation.battery.closures import closure_checks
    from evidence.mutation.battery.contract import contract_checks
    from evidence.mutation.battery.decisions import decision_checks
    from evidence.mutation.battery.dropout import dropout_checks
    from evidence.mutation.battery.edges import edge_checks
    from evidence.mutation.battery.expressions import expression_checks
    from evidence.mutation.battery.facts import fact_checks
    from evidence.mutation.battery.fractional import fractional_checks
    from evidence.mutation.battery.gates import gate_checks
    from evidence.mutation.battery.graphs import graph_checks
    from evidence.mutation.battery.grids import grid_checks
    from evidence.mutation.battery.initial import initial_checks
    from evidence.mutation.battery.layer_table import layer_checks
    from evidence.mutation.battery.loss_table import loss_checks
    from evidence.mutation.battery.networks import network_checks
    from evidence.mutation.battery.objects import object_checks
    from evidence.mutation.battery.optimizers import optimizer_checks
    from evidence.mutation.battery.plain import plain_checks
    from evidence.mutation.battery.pools import winner_checks
    from evidence.mutation.battery.ports import port_checks
    from evidence.mutation.battery.rules import rule_checks
    from evidence.mutation.battery.scalers import scaler_checks
    from evidence.mutation.battery.schedules import schedule_checks
    from evidence.mutation.battery.tables import table_checks
    from evidence.mutation.battery.training import training_checks
    from evidence.mutation.battery.wired import wired_checks
    from evidence.mutation.battery.workers import worker_checks

    tables: tuple[Table, ...] = (
        layer_checks, loss_checks, optimizer_checks, closure_checks, clip_checks, dropout_checks,
        graph_checks, network_checks, initial_checks, schedule_checks, decision_checks,
        object_checks, gate_checks, expression_checks, winner_checks, port_checks, wired_checks,
        training_checks, contract_checks, fractional_checks, edge_checks,
        plain_checks, rule_checks, table_checks, fact_checks, worker_checks, scaler_checks,
        grid_checks,
        *_gate_tables(),
    )  # fmt: skip
    return [check for table in tables for check in table()]


def battery_for(modules: Sequence[str]) -> list[Check]:
    """Return the checks of these modules: torch's samples for the gates, which have others alone.

    Raises:
        UserError: torch's samples cannot be imported.
    """
    from evidence.mutation.battery.expressions import expression_checks
    from evidence.mutation.battery.gates import gate_checks
    from evidence.mutation.battery.operations import operation_checks

    gates = [name for name in modules if f"{name}.".startswith(GATES)]
    if not gates:
        return battery()
    if len(gates) < len(modules):
        return [*battery(), *operation_checks()]
    tables: tuple[Table, ...] = (*_gate_tables(), gate_checks, expression_checks, operation_checks)
    return [check for table in tables for check in table()]


def _gate_tables() -> tuple[Table, ...]:
    """Return the tables of what the mirror has: every gate, and layers made of others."""
    from evidence.mutation.battery.composed import composed_checks
    from evidence.mutation.battery.gate_calls import gate_call_checks
    from evidence.mutation.battery.own_numbers import own_number_checks

    return gate_call_checks, composed_checks, own_number_checks
