"""One row of the page: one function of one submission."""

from __future__ import annotations

from dataclasses import dataclass

AGREE, DISAGREE, INCOMPLETE = "agree", "disagree", "incomplete"  # the checker's
MISSING, ERROR, TIMEOUT, CRASHED = "missing", "error", "timeout", "crashed"
COLUMNS = ("submission", "function", "verdict", "gradients", "cause", "reason", "file", "names",
           "reference", "notes", "seconds")  # fmt: skip


@dataclass(frozen=True)
class Row:
    """The result of one function of one submission.

    Attributes:
        verdict: `agree`, `disagree` or `incomplete`; `missing` if nobody has written it, `error` if
            it cannot be run, `timeout` or `crashed` if it had to be stopped or ended its process.
        gradients: what does not agree: `x`, `output`, ….
        cause: what the mistake looks like; empty if it looks like nothing that is known.
        reason: the verdict in one sentence.
        file: where it stands, `layers.py:12`, from the submission's folder.
        names: what it is called there.
        reference: what it was compared with.
    """

    submission: str
    function: str
    verdict: str
    gradients: tuple[str, ...] = ()
    cause: str = ""
    reason: str = ""
    file: str = ""
    names: str = ""
    reference: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def told(self) -> str:
        """What a cell says: the cause if it is known, else why."""
        return self.cause or ("" if self.verdict == AGREE else self.reason)

    def cells(self) -> tuple[str, ...]:
        """Return the row of the CSV file."""
        return (self.submission, self.function, self.verdict, " ".join(self.gradients), self.cause,
                self.reason, self.file, self.names, self.reference, " ".join(self.notes),
                f"{self.seconds:.2f}")  # fmt: skip
