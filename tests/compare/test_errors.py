"""Messages to users: one line, and the nearest names."""

from __future__ import annotations

from compare.errors import UserError, nearest


class TestUserError:
    def test_its_text_is_one_line_without_control_characters(self) -> None:
        assert str(UserError("a\n  b\x1b[31m")) == "a b?[31m"


class TestNearest:
    def test_names_differing_in_case_are_found(self) -> None:
        assert "Did you mean 'ReLU'?" in nearest("relu", ["ReLU", "Tanh"])

    def test_a_name_differing_in_case_alone_is_the_only_guess(self) -> None:
        assert nearest("adam", ["Adam", "AdamW"]).startswith("Did you mean 'Adam'?")

    def test_beginnings_are_found(self) -> None:
        assert "Did you mean 'CrossEntropyLoss'?" in nearest("Cross", ["CrossEntropyLoss", "L1"])

    def test_nothing_close_lists_all(self) -> None:
        assert nearest("zzz", ["a", "b"]) == "Valid names: a, b."
