"""The certificates that reports quote are of this very code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import compare
from compare.errors import UserError
from compare.report.rendering.html import report_html
from compare.witness.fingerprint import fingerprint
from compare.witness.record import CERTIFIED, FILE, certified_digits, record
from compare.witness.rows import certificates
from manual import registry


def test_every_class_of_this_code_is_certified_to_50_digits() -> None:
    digits = certified_digits()

    stale = "the code has changed: run `handgrad certify --record`"
    assert json.loads(FILE.read_text())["sources"] == fingerprint(*CERTIFIED), stale
    smooth = {*registry.LAYERS, *registry.LOSSES, *registry.OPTIMIZERS}
    assert smooth <= digits.keys()
    assert min(digits.values()) >= 50


def test_a_report_shows_them_beside_its_nodes() -> None:
    report = compare.run("iris", steps=1)

    assert [node.certified for node in report.nodes] == [
        certified_digits()[node.type] for node in report.nodes
    ]
    assert f"{certified_digits()['Linear']} digits" in report_html(report)


def test_certificates_of_other_code_are_not_quoted(tmp_path: Path) -> None:
    other = tmp_path / "certificates.json"
    other.write_text('{"sources": "another", "digits": {"Linear": 77}}')

    assert certified_digits(other) == {}
    assert certified_digits(tmp_path / "none.json") == {}


def test_only_a_whole_proof_is_written_down(tmp_path: Path) -> None:
    pytest.importorskip("flint")
    record(certificates(["Tanh"]), tmp_path / "tanh.json")

    assert json.loads((tmp_path / "tanh.json").read_text())["digits"]["Tanh"] >= 50
    with pytest.raises(UserError, match="not certified"):
        record(certificates(["Tanh"], digits=77), tmp_path / "no.json")
    assert not (tmp_path / "no.json").exists()


def test_the_fingerprint_changes_with_a_source_and_with_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "fingerprinted"
    (package / "inner").mkdir(parents=True)
    for name in ("__init__.py", "inner/one.py", "inner/notes.txt"):
        (package / name).write_text("1")
    monkeypatch.syspath_prepend(tmp_path)
    taken = fingerprint.__wrapped__
    before = taken("fingerprinted")

    (package / "inner/notes.txt").write_text("2")
    assert taken("fingerprinted") == before
    (package / "inner/one.py").write_text("2")
    assert taken("fingerprinted") != before
    assert taken("fingerprinted/__init__.py") != taken("fingerprinted/inner/one.py")
