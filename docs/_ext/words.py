"""What there is to translate of the words that code prints, for Babel.

Of lessons: headings of tables, captions, axes, printed lines, and every other text that is prose
and no code: names of what is compared, cells, legends, remarks. Of the commands for learners:
`_("…")`, help texts, and of the modules in PHRASES every text with a word in it, its values as
numbered slots (`compare.words.said` puts them back). Of exercises: title, summary, index forms and
hints.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

CAPTIONS = {"figure": 0, "drawing_of": 1, "neurons": 1, "network": 1}  # which argument it is
CURVES = ("plot", "scatter", "bar", "axhline", "axvline")  # their labels stand in the legend
AXES = ("xlabel", "ylabel", "title", "label")
CAUSES = ("axes", "cause", "constants", "context", "find", "formulas", "inside", "loss_rows",
          "precision", "products", "regions", "replaced", "samples", "scale", "settings", "sides",
          "split", "terms")  # fmt: skip
PHRASES = {
    *(f"compare/diagnose/causes/{name}.py" for name in CAUSES),
    *(f"compare/diagnose/cases/{name}.py" for name in ("maxima", "named_cause")),
    *(f"compare/explaining/{name}.py" for name in ("bound", "pieces", "torch_words", "worked")),
    *("compare/commands/explain.py", "compare/errors.py"),
    *(f"teach/exercises/{name}.py" for name in ("definition", "folder", "grade", "judging",
                                               "progress", "remote", "rules", "telling", "verify",
                                               "worker")),
    *(f"teach/trace/{name}.py" for name in ("arguments", "edges", "tracer")),
    *(f"manual/expression/{name}.py" for name in ("evaluated", "parser")),
}  # fmt: skip
PYTHON = ("invalid syntax", "'{0}' was never closed", "unmatched '{0}'")  # what it says of a slip
LESSON = re.compile(r"lessons/\d")
KINDS = ("A factor, a number", "Axes and shapes", "The chain rule",
         "Terms and factors of a formula", "Only somewhere", "The code")  # fmt: skip
COMMANDS = ("teach/exercises/cli.py", "teach/trace/cli.py", "compare/commands/explain_cli.py",
            "compare/commands/spoken.py", "compare/commands/options.py")  # fmt: skip
WORD = re.compile(r"[A-Za-z]{2,} |[A-Za-z] [A-Za-z]{2,}|[a-z]{2,}[ :]|[a-z] \{| [a-z]{3,}")
NONE = re.compile(r"[\\|^]|__|\(\?|^[a-z_]+:(\{|$)|^#|^Application|^E of|lam \*|norm \+")  # code
PROSE = re.compile(
    r"[A-Za-z]{2,}[,:;]? [a-z]|[a-z]{2} [A-Za-z{]|\} [a-z]{3}|[a-z]{2,}[ :]\{|, [a-z]{3}"
    r"|[\w)] (at|and|for) |'s [A-Za-z]|^[a-z]{3,} \d|^[A-Z\d] [a-z]{5}|^[a-z]{3,}: [A-Z]"
)
CODE = re.compile(r"\* |^return |\w\[|^`[^`]*`$|np\.|strict=")
Message = tuple[int, None, str, list[str]]


def extract(file: Any, keywords: Any, tags: Any, options: Any) -> Iterator[Message]:
    """Yield (line, function, message, comments), as Babel asks of an extractor."""
    tree = ast.parse(file.read())
    name = Path(getattr(file, "name", "")).as_posix()
    phrases = any(name.endswith(one) for one in PHRASES)
    commands = name.endswith(COMMANDS)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for text in _words(node, captions="compare/" not in name, helped=commands):
                if isinstance(text, ast.Constant) and isinstance(text.value, str) and text.value:
                    yield text.lineno, None, text.value, []
                elif isinstance(text, ast.JoinedStr) and WORD.search(_with_slots(text)):
                    yield text.lineno, None, _with_slots(text), []
            if LESSON.search(name) and getattr(node.func, "id", "") in ("print", "show"):
                yield from ((node.lineno, None, line, []) for line in _lines(node))
        if commands and isinstance(node, ast.FunctionDef) and _is_command(node):
            yield node.lineno, None, ast.get_docstring(node) or "", []
        if commands and isinstance(node, ast.Call) and getattr(node.func, "id", "") == "UserError":
            yield from ((node.lineno, None, t, []) for t in map(_with_slots, node.args) if t)
    if LESSON.search(name):
        yield from ((line, None, text, []) for line, text in _prose(tree))
    if name.endswith("kit/show.py"):
        yield from ((1, None, text, []) for text in _assigned(tree, "WORDS"))
    if name.endswith("exercises/grade.py"):
        yield from ((1, None, text, []) for text in PYTHON)
    if name.endswith("causes/kinds.py"):
        yield from ((line, None, text, []) for line, text in _kinds(tree))
    if phrases:
        yield from ((line, None, text, []) for line, text in _phrases(tree))


def exercise(file: Any, keywords: Any, tags: Any, options: Any) -> Iterator[Message]:
    """Yield what a learner reads of exercise.toml."""
    about = tomllib.loads(file.read().decode())
    level = about["level"][:1].upper() + about["level"][1:]
    hints = [wrong["hint"] for wrong in about.get("wrong", []) if "hint" in wrong]
    for text in (about["title"], about["summary"], level, *about["index_form"].values(), *hints):
        if re.search(r"[a-z]{2,} [a-z]|[A-Z][a-z]{3,}| [a-z]{4,}", text):
            yield 1, None, text, []


def _is_command(function: ast.FunctionDef) -> bool:
    return function.name in ("trace", "explain") or ".command(" in "".join(
        map(ast.unparse, function.decorator_list)
    )


def _words(call: ast.Call, *, captions: bool, helped: bool) -> Iterator[ast.expr | None]:
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    if name == "_":
        yield from call.args
    if captions and name == "table":
        yield from (key for arg in call.args if isinstance(arg, ast.Dict) for key in arg.keys)
    if captions and name in CAPTIONS:
        yield from call.args[CAPTIONS[name] :][:1]
        yield from (word.value for word in call.keywords if word.arg in AXES)
    if captions and name == "code_diff":
        told = (word.value for word in call.keywords if word.arg == "names")
        yield from (one for names in told if isinstance(names, ast.Tuple) for one in names.elts)
    if captions and name in CURVES:
        yield from (word.value for word in call.keywords if word.arg == "label")
    if name == "nearest":
        yield from (word.value for word in call.keywords if word.arg == "what")
    if helped and name in ("Option", "Argument", "command", "Typer"):
        said = ("help", "epilog", "show_default")
        yield from (word.value for word in call.keywords if word.arg in said)


def _phrases(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for line, text in _texts(tree):
        if WORD.search(text) and not NONE.search(text):
            yield line, text


def _prose(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield what a lesson says in words; a remark of `grad_fn_table` without its parentheses."""
    printed = {id(part) for call in ast.walk(tree) if isinstance(call, ast.Call)
               and getattr(call.func, "id", "") in ("print", "show")
               for part in ast.walk(call)}  # fmt: skip
    for line, text in _texts(tree, printed):
        if PROSE.search(text) and not CODE.search(text):
            yield line, text[1:-1] if text.startswith("(") and text.endswith(")") else text


def _texts(tree: ast.Module, held: Collection[int] = ()) -> Iterator[tuple[int, str]]:
    """Yield every text but docstrings and those whose `id` is held elsewhere."""
    owners = ast.Module | ast.FunctionDef | ast.ClassDef
    without = {*held}
    for node in ast.walk(tree):
        if isinstance(node, owners) and isinstance(node.body[0], ast.Expr):
            without.add(id(node.body[0].value))
        if isinstance(node, ast.JoinedStr):
            without |= {id(part) for part in node.values}
        if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in without:
            yield node.lineno, _with_slots(node).strip()


def _assigned(tree: ast.Module, name: str) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            yield from ast.literal_eval(node.value)


def _kinds(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the kinds of causes that one function may have: no optimiser's, no worker's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for group, kinds in zip(node.keys, node.values, strict=True):
                if isinstance(kinds, ast.Dict) and ast.literal_eval(group or "") in KINDS:
                    yield from ((kinds.lineno, ast.literal_eval(k)) for k in kinds.keys if k)


def _lines(call: ast.Call) -> Iterator[str]:
    """Yield what a print has to say, line by line: so the page is translated."""
    spoken = " ".join(_with_slots(one) or "{0}" for one in call.args)
    for line in map(str.strip, spoken.split("\n")):
        first, *rest = re.split(r"\{\d+\}", line)
        if WORD.search(f"{first}{''.join(rest)} "):
            yield first + "".join(f"{{{n}}}{part}" for n, part in enumerate(rest))


def _with_slots(node: ast.expr) -> str:
    if not isinstance(node, ast.JoinedStr):
        return str(node.value) if isinstance(node, ast.Constant) else ""
    slots = 0
    text = ""
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
        else:
            text, slots = f"{text}{{{slots}}}", slots + 1
    return text
