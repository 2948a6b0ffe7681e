"""The pytest plugin: `assert_gradients_agree` in any test, `--handgrad-report=DIR` for reports.

Pytest loads this in every project where handgrad is installed, whatever that project's own modules
are called: so nothing of compare/ and its like is imported before the fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from compare.report.report import Report


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("handgrad", "hand-written gradients")
    group.addoption(
        "--handgrad-report",
        metavar="DIR",
        default=None,
        help="Save the report of every assert_gradients_agree below this directory, in the place "
        "of the last session's.",
    )


class GradientAssertion:
    """Checks a gradient as `compare.check` does, and fails the test unless it agrees.

    `assert_gradients_agree(...)` takes the arguments of `compare.check`,
    `assert_gradients_agree.torch(...)` those of `compare.check_torch`. Both return the report.
    """

    def __init__(self, test: str, directory: str | None) -> None:
        self._test, self._directory, self._count = test, directory, 0

    def __call__(self, *arguments: Any, **options: Any) -> Report:
        __tracebackhide__ = True
        from compare.commands.check.check import check

        return self._asserted(check, arguments, options)

    def torch(self, *arguments: Any, **options: Any) -> Report:
        __tracebackhide__ = True
        from compare.commands.check.check import check_torch

        return self._asserted(check_torch, arguments, options)

    def _asserted(self, check: Callable[..., Report], arguments: tuple, options: dict) -> Report:
        __tracebackhide__ = True
        from compare.errors import UserError
        from compare.report.rendering.terminal import failure_text

        try:
            report = check(*arguments, **options)
        except UserError as error:
            raise _unusable(error) from None
        saved = self._saved(report)
        if not report.agrees:
            where = f"\n\nReport: {saved / 'report.html'}" if saved else ""
            raise AssertionError(failure_text(report) + where)
        return report

    def _saved(self, report: Report) -> Path | None:
        if self._directory is None:
            return None
        from compare.commands.check_cli import directory_name

        self._count += 1
        number = f"-{self._count}" if self._count > 1 else ""
        name = directory_name(self._test.replace("::", "--").replace("/", "-"))
        return report.save(Path(self._directory) / f"{name}{number}", force=True)


def _unusable(error: Exception) -> BaseException:
    return pytest.fail.Exception(f"assert_gradients_agree: {error}", pytrace=False)


@pytest.fixture
def assert_gradients_agree(request: pytest.FixtureRequest) -> GradientAssertion:
    """Check a hand-derived gradient: see `compare.check` for the arguments."""
    from handgrad.shadows import ShadowedError, refuse_shadows

    try:
        refuse_shadows()
    except ShadowedError as error:
        raise _unusable(error) from None
    directory = request.config.getoption("--handgrad-report")
    return GradientAssertion(request.node.nodeid, directory)
