"""The jobs that can be swept: a run, a check, a mirror, or one that is registered."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from compare.commands.sweep import OTHERS
from compare.commands.sweep.file import Sweep
from compare.commands.sweep.files import content_of
from compare.commands.sweep.rows import Found, found_in
from compare.errors import UserError, nearest


class Job(Protocol):
    """One kind of job, with all that is fixed."""

    reads: Sequence[str]  # files that what is fixed names in its turn

    def fixed(self, values: Mapping[str, Any]) -> Any:
        """Return what else a point's result depends on, for its key."""

    def refuse(self, values: Mapping[str, Any]) -> None:
        """Raise a UserError if a point cannot be what it should, before anything is started."""

    def judged(self, values: Mapping[str, Any]) -> Found:
        """Do the job; whatever is raised becomes the point's verdict."""

    def command(self, values: Mapping[str, Any]) -> list[str]:
        """Return the words of a command that does the same once more."""


Maker = Callable[[Sweep], tuple[Job, Sweep]]


def job_of(sweep: Sweep) -> tuple[Job, Sweep]:
    """Return a sweep's job, and the sweep with what the job adds to it.

    Raises:
        UserError: there is no such job, or something that is fixed is wrong.
    """
    makers = MAKERS | OTHERS
    if sweep.job not in makers:
        raise UserError(f"job = '{sweep.job}': {nearest(sweep.job, makers, what='Jobs')}")
    return makers[sweep.job](sweep)  # type: ignore[no-any-return]


class Run:
    """A configuration with settings by dotted key, as `handgrad run --set` takes them."""

    OWN = ("config", "plant")

    def __init__(self, sweep: Sweep) -> None:
        from compare.description.config.file import find, read

        if not (sweep.base or sweep.axes):
            raise UserError(f"sweep '{sweep.name}' says nothing: give [base], [grid] or [random].")
        base = dict(sweep.base)
        self.plant = base.pop("plant", "")
        name = base.pop("config", None)
        names = [name] if name is not None else swept(sweep, "config") or ["digits"]
        self.named, self.tried = names[0], set[tuple]()
        self.base = _renamed(base)
        for axis in sweep.axes:
            _refuse_unknown(axis)
        for key in self.base:
            _refuse_unknown(key)
        _refuse_twice([*base, *sweep.axes])
        own = "compare.drift" in {*self.base, *_renamed(dict.fromkeys(sweep.axes))}
        self.quiet = {} if own else {"compare.drift": False}  # a free run has no verdict
        self.tables = {n: read(find(n)) for n in names if self._is_name(n)}
        named = [_named(tables) for tables in self.tables.values()]
        self.reads: Sequence[str] = sorted({file for two in named for file in two})
        whole = (self.base, self.quiet)
        self.hashes = {n: _digest(repr((t, *whole)), _named(t)) for n, t in self.tables.items()}

    def _is_name(self, name: Any) -> bool:
        if not isinstance(name, str) or ".py:" in name:
            raise UserError(f"config = {name!r}: give a preset's name or a .toml file's path; of a "
                            'torch model sweep with job = "mirror".')  # fmt: skip
        return True

    def fixed(self, values: Mapping[str, Any]) -> Any:
        return self.hashes[values.get("config", self.named)], values.get("plant", self.plant)

    def refuse(self, values: Mapping[str, Any]) -> None:
        from compare.running.experiment import prepare

        config, plant = self._config(values), values.get("plant", self.plant)
        if plant and (config.name, plant) not in self.tried:
            prepare(config, mistake=plant)
            self.tried.add((config.name, plant))

    def _config(self, values: Mapping[str, Any]) -> Any:
        from compare.description.config import load

        return load(self.tables[values.get("config", self.named)], self.quiet | self._set(values))

    def _set(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return all that is set, as one: a new type drops what only its file's type takes."""
        return self.base | _renamed({k: v for k, v in values.items() if k not in self.OWN})

    def judged(self, values: Mapping[str, Any]) -> Found:
        from compare.commands.run import compared
        from compare.commands.sweep.brief import Brief
        from compare.running.experiment import prepare
        from compare.running.process import at_work

        config, plant = self._config(values), values.get("plant", self.plant) or None
        if config.parallel is not None:
            return found_in(compared(config, plant))
        with at_work(config.train.threads, config.train.device):
            return Brief(prepare(config, mistake=plant), lambda *_: None).found()

    def command(self, values: Mapping[str, Any]) -> list[str]:
        words = ["run", str(values.get("config", self.named))]
        for key, value in self._set(values).items():
            words += ["--set", f"{key}={_setting(value)}"]
        plant = values.get("plant", self.plant)
        return [*words, "--plant", plant] if plant else words


def _renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings under their whole keys: `seed` is short for `train.seed`."""
    from compare.description.config.overrides import SHORT

    return {SHORT.get(key, key): value for key, value in values.items()}


def _refuse_unknown(key: str) -> None:
    """Refuse a key that is no table's; what a table does not know, loading it says."""
    from compare.description.config import Config
    from compare.description.config.overrides import SHORT

    first = key.partition(".")[0]
    if first in Config.model_fields or key in SHORT or key in Run.OWN:
        return
    known = [*(f"{f}.…" for f in Config.model_fields if f not in ("name", "summary")), *SHORT]
    hint = nearest(key, [*known, *Run.OWN], what="Keys of a run")
    near = nearest(first, Config.model_fields).partition("?")[0]
    guess = f"{near}? " if near.startswith("Did") and "." in key else ""
    raise UserError(f"'{key}': a run has no such key. {guess or hint}".rstrip())


def _refuse_twice(keys: Sequence[str]) -> None:
    """Refuse a key that stands there under its short name as well."""
    seen: dict[str, str] = {}
    for key in keys:
        whole = next(iter(_renamed({key: 0})))
        if whole in seen:
            raise UserError(f"'{seen[whole]}' and '{key}' are one key: give it once.")
        seen[whole] = key


class Keys(BaseModel):
    """The keys of a job, checked by name and type."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckKeys(Keys):
    """What `handgrad check` takes."""

    target: str
    reference: str | None = None
    init: dict[str, Any] = {}
    shapes: dict[str, list[int]] = {}
    values: dict[str, Any] = {}
    no_grad: list[str] = []
    structural_zeros: list[str] = []
    cases: list[str] = []
    domain: dict[str, str] = {}
    upstream: list[Any] = []
    purity: Literal["note", "fail"] = "note"
    resize: bool | None = None
    tolerance: float | None = None
    budget: float | None = None
    dtype: Literal["float64", "float32", "float16", "bfloat16"] = "float64"
    device: str = "cpu"
    seed: int = 0


class MirrorKeys(Keys):
    """What `handgrad mirror` takes; `target` is what the loss compares with."""

    model: str
    inputs: list[str] = []
    loss: str | None = None
    target: str | None = None
    optimizer: str | None = None
    steps: int = 1
    dtype: Literal["float64", "float32"] = "float64"
    seed: int = 0
    evaluate: bool = False


class Typed:
    """A job whose keys are a command's options."""

    keys: type[Keys]
    reads: Sequence[str] = ()

    def __init__(self, sweep: Sweep) -> None:
        self.base = sweep.base

    def fixed(self, values: Mapping[str, Any]) -> Any:
        return sorted(self.base.items())

    def refuse(self, values: Mapping[str, Any]) -> None:
        self.given(values)

    def given(self, values: Mapping[str, Any]) -> Any:
        """Return what a point says, checked."""
        from compare.description.config.overrides import override
        from compare.pair.declared import sentences

        try:
            tables = override(override({}, self.base), values)
            return self.keys.model_validate(tables)
        except ValidationError as error:
            raise UserError(" ".join(sentences(error, self.keys, {}))) from None
        except ValueError as error:
            raise UserError(str(error)) from None


class Check(Typed):
    """A check of a gradient in a file."""

    keys = CheckKeys

    def refuse(self, values: Mapping[str, Any]) -> None:
        from compare.pair.loading import load_names

        given = self.given(values)
        for name in filter(None, (given.target, given.reference)):
            with redirect_stdout(sys.stderr):
                load_names(name)

    def judged(self, values: Mapping[str, Any]) -> Found:
        from compare.commands.check_cli import as_typed
        from compare.pair.budget import SECONDS

        given, texts = self.given(values), self._texts(values)
        how: dict[str, Any] = {n: getattr(given, n) for n in
               ("tolerance", "purity", "resize", "dtype", "device", "seed", "no_grad")}  # fmt: skip
        how |= {"budget": given.budget or SECONDS, "cases": given.cases or None}
        zeros = given.structural_zeros
        return found_in(as_typed(given.target, given.reference, zeros=zeros, **how, **texts))

    def _texts(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the tables as the command line's texts."""
        given = self.given(values)
        shapes = [f"{name}={','.join(map(str, shape))}" for name, shape in given.shapes.items()]
        return {
            "shapes": shapes,
            "values": [f"{name}={_json(value)}" for name, value in given.values.items()],
            "init": [f"{name}={_json(value)}" for name, value in given.init.items()],
            "domains": [f"{name}={domain}" for name, domain in given.domain.items()],
            "upstream": list(map(_json, given.upstream)),
        }

    def command(self, values: Mapping[str, Any]) -> list[str]:
        given, texts = self.given(values), self._texts(values)
        single = {"reference": given.reference, "tolerance": given.tolerance,
                  "budget": given.budget}  # fmt: skip
        single |= {n: v for n in ("purity", "dtype", "device", "seed")
                   if (v := getattr(given, n)) != CheckKeys.model_fields[n].default}  # fmt: skip
        several = {"shape": texts["shapes"], "value": texts["values"], "init": texts["init"],
                   "domain": texts["domains"], "upstream": texts["upstream"],
                   "no-grad": given.no_grad, "structural-zero": given.structural_zeros,
                   "case": given.cases}  # fmt: skip
        words = ["check", given.target, *_options(single, several)]
        sizes = {True: ["--resize"], False: ["--no-resize"], None: []}[given.resize]
        return [*words, *sizes]


class Mirror(Typed):
    """A torch model in a file, mirrored."""

    keys = MirrorKeys

    def refuse(self, values: Mapping[str, Any]) -> None:
        with redirect_stdout(sys.stderr):
            self._asked(self.given(values))

    def _asked(self, given: MirrorKeys) -> Any:
        from compare.commands.mirror_cli import Asked

        return Asked(given.model, given.inputs, given.loss, given.target, given.optimizer,
                     given.seed, given.evaluate)  # fmt: skip

    def judged(self, values: Mapping[str, Any]) -> Found:
        given = self.given(values)
        how = {"steps": given.steps, "dtype": given.dtype, "seed": given.seed}
        return found_in(self._asked(given).mirrored(**how))

    def command(self, values: Mapping[str, Any]) -> list[str]:
        given = self.given(values)
        single = {n: v for n in ("loss", "target", "optimizer", "steps", "dtype", "seed")
                  if (v := getattr(given, n)) != MirrorKeys.model_fields[n].default}  # fmt: skip
        words = ["mirror", given.model, *_options(single, {"input": given.inputs})]
        return [*words, "--eval"] if given.evaluate else words


def _made(job: Callable[[Sweep], Job]) -> Maker:
    return lambda sweep: (job(sweep), sweep)


MAKERS: dict[str, Maker] = {"run": _made(Run), "check": _made(Check), "mirror": _made(Mirror)}


def swept(sweep: Sweep, key: str) -> list[Any]:
    """Return the values that a key takes in the grid or in a choice."""
    return sweep.grid.get(key, []) or sweep.random.keys.get(key, {}).get("choice", [])


def _named(tables: Mapping[str, Any]) -> list[str]:
    """Return the files of data and weights that a configuration's tables name."""
    found = (tables.get(section) for section in ("data", "init"))
    files = [table.get("file") for table in found if isinstance(table, Mapping)]
    return [file for file in files if isinstance(file, str) and os.path.isfile(file)]


def _digest(text: str, files: Sequence[str]) -> str:
    """Return the hash of a configuration and of the data and weights that it names."""
    content = [content_of(file) for file in files]
    return hashlib.sha256(f"{text}{content}".encode("utf-8", "backslashreplace")).hexdigest()


def _options(single: Mapping[str, Any], several: Mapping[str, Sequence[str]]) -> list[str]:
    words = []
    for name, value in single.items():
        words += [f"--{name}", str(value)] if value is not None else []
    for name, texts in several.items():
        for text in texts:
            words += [f"--{name}", text]
    return words


def _json(value: Any) -> str:
    """Return a value as the command line reads it: JSON, or a text that is no JSON."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value)


def _setting(value: Any) -> str:
    """Return a value as `--set` reads it: TOML, or a text that is no TOML."""
    from compare.description.config import parse_set

    if isinstance(value, str) and value and parse_set(f"k={value}")[1] == value:
        return value
    return _toml(value)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)
