"""The process in which a submission runs: it computes arrays when asked, and never judges.

Started as a script, `python child.py limited.py`, with the grader at the other end of stdin and
stdout, in a folder that is empty. It knows neither the reference nor the verdict, and where the
system can see to it (`compare.pair.limited`) it cannot open their files. Needs NumPy and the
standard library only; of `compare` nothing but that one file is loaded here.

A message is eight bytes of length and JSON. Requests: `load` (source, limits), `forward`
(inputs), `backward` (call, upstream gradients). Replies say what was returned, or what was raised.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import io
import json
import os
import sys
import sysconfig
import types
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any, BinaryIO

import numpy as np

PRINTED = 2000  # characters of a submission's output that are passed on
SHOWN = 50  # local names of which the shapes are told
AGAIN = 1  # times that backward may call forward: to have its values again
NAME = "submission"


def encoded(value: Any, *, inside: bool = False) -> Any:
    """Return numbers, arrays and nests of them as JSON; of anything else only its type.

    With `inside`, of objects what they hold.
    """
    if value is None:
        return {"none": True}
    if isinstance(value, tuple | list):
        return {
            "list": [encoded(v, inside=inside) for v in value],
            "tuple": isinstance(value, tuple),
        }
    if isinstance(value, dict):
        return {"dict": [[str(k), encoded(v, inside=inside)] for k, v in value.items()]}
    if isinstance(value, str):
        return {"str": value}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        array = np.ascontiguousarray(value)
        data = base64.b64encode(array.tobytes()).decode()
        return {"array": data, "dtype": array.dtype.str, "shape": list(np.shape(value))}
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63):
        return {"number": value}
    if inside and hasattr(value, "__dict__") and not callable(value):
        return encoded(vars(value), inside=True)
    shape = f" of {value.dtype}" if isinstance(value, np.ndarray) else ""
    return {"other": type(value).__name__ + shape}


def decoded(value: dict[str, Any]) -> Any:
    """Return what `encoded` made; what is no number, array or nest of them is a ValueError."""
    if "none" in value:
        return None
    if "list" in value:
        items = [decoded(v) for v in value["list"]]
        return tuple(items) if value["tuple"] else items
    if "dict" in value:
        return {k: decoded(v) for k, v in value["dict"]}
    if "array" in value:
        data = base64.b64decode(value["array"])
        return np.frombuffer(data, np.dtype(value["dtype"])).reshape(value["shape"]).copy()
    for kind in ("str", "number"):
        if kind in value:
            return value[kind]
    raise ValueError(f"returned an object of type {value.get('other')}, which is no number")


def send(pipe: BinaryIO, message: dict[str, Any]) -> None:
    """Write one message."""
    data = json.dumps(message).encode()
    pipe.write(len(data).to_bytes(8, "little") + data)
    pipe.flush()


def receive(pipe: BinaryIO, most: int = 2**40) -> dict[str, Any]:
    """Read one message.

    Raises:
        EOFError: the other side is gone.
        ValueError: it is longer than `most` bytes, or no message at all.
    """
    head = pipe.read(8)
    if len(head) < 8:
        raise EOFError
    length = int.from_bytes(head, "little")
    if length > most:
        raise ValueError(f"a message of {length:,} bytes")
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    message = json.loads(data)
    if not isinstance(message, dict):
        raise ValueError("no message")
    return message


class Printed(io.TextIOBase):
    """Standard output: the first characters are kept, the rest is dropped."""

    text = ""

    def write(self, text: str) -> int:
        if len(self.text) < PRINTED:
            self.text += text[: PRINTED - len(self.text)]
        return len(text)

    def writable(self) -> bool:
        return True


def limited() -> Any:
    """Load the limits by their path, which is the only argument: `compare` is not imported."""
    found = spec_from_file_location("limited", sys.argv[1])
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


def places(names: list[str]) -> list[str]:
    """Return the folders and files of the standard library, of NumPy and of these modules.

    Not the folder of installed packages, where exercises with their solutions may stand.
    """
    library = sysconfig.get_path("stdlib")
    found = [os.path.join(library, n) for n in os.listdir(library) if not n.endswith("-packages")]
    for name in ("numpy", *names):
        module = sys.modules[name.partition(".")[0]]
        found += list(getattr(module, "__path__", ()))
        if file := getattr(module, "__file__", None):
            found.append(file)
    libraries = os.path.dirname(np.__path__[0])  # wheels bring their own beside them
    found += [os.path.join(libraries, n) for n in os.listdir(libraries) if n.endswith(".libs")]
    return [os.path.realpath(path) for path in found if not path.endswith("__init__.py")]


class Guard:
    """Refuses, from `shut` on, what a derivation has no use for; `broken` says what was tried."""

    FORBIDDEN = ("os.", "subprocess.", "socket.", "ctypes.", "shutil.", "pty.", "webbrowser.",
                 "urllib.", "ftplib.", "smtplib.", "sqlite3.", "tempfile.", "winreg.", "signal.",
                 "gc.", "_thread.", "sys.settrace", "sys.setprofile")  # fmt: skip
    HARMLESS = ("os.listdir", "os.scandir", "os.walk")  # the import system's

    def __init__(self) -> None:
        self.broken, self.shut = "", False
        self.allowed: set[str] = set()
        self.places: tuple[str, ...] = ()  # what may be read: code of libraries

    def __call__(self, event: str, arguments: tuple) -> None:
        if not self.shut:
            return
        what = self._refused(event, arguments)
        if what:
            self.broken = self.broken or what
            raise PermissionError(f"not allowed in an exercise: {what}")

    def _refused(self, event: str, arguments: tuple) -> str:
        if event == "import":
            top = str(arguments[0]).partition(".")[0]
            known = top in sys.stdlib_module_names or top == "numpy" or top in self.allowed
            return "" if known else f"import {arguments[0]}"
        if event == "open":
            path, mode = str(arguments[0]), str(arguments[1] or "r")
            place = os.path.realpath(path) if os.path.isabs(path) else ""
            code = path.endswith((".py", ".pyc", ".so", ".pyd")) and place.startswith(self.places)
            reads = not set(mode) & set("wax+") and code
            return "" if reads else f"open({path!r})"
        if event in self.HARMLESS or not event.startswith(self.FORBIDDEN):
            return ""
        return event


class Server:
    """Answers requests about one submission."""

    def __init__(self, guard: Guard, limit: Any) -> None:
        self.guard, self.functions, self.file = guard, ("", ""), ""
        self.limit = limit
        self.module = sys.modules[NAME] = types.ModuleType(NAME)  # dataclasses look it up
        self.space = vars(self.module)
        self.forward: Any = None
        self.caches: dict[int, Any] = {}
        self.asked = 0
        self.printed = Printed()
        sys.stdout = sys.stderr = self.printed

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the reply; whatever a submission raises is one."""
        try:
            reply = getattr(self, f"on_{request['do']}")(request)
        except BaseException as error:
            self.guard.shut = False  # frames are read here
            if isinstance(error, MemoryError):
                self.caches.clear()
            reply = {"error": raised(error, self.file)}
        self.guard.shut = bool(self.file)
        reply["printed"], self.printed.text = self.printed.text, ""
        reply["broken"] = self.guard.broken
        return reply

    def on_load(self, request: dict[str, Any]) -> dict[str, Any]:
        self.functions = tuple(request["functions"])
        self.file = request["file"]
        code = compile(request["source"], self.file, "exec")
        for name in request["allowed"]:  # before the guard: loading opens files
            importlib.import_module(name)
        self.guard.allowed.update(name.partition(".")[0] for name in request["allowed"])
        found = places(request["allowed"])
        self.guard.places = tuple(path if path.endswith(".py") else path + os.sep for path in found)
        self.limit(memory=request["memory"], seconds=request["seconds"], readable=found)
        self.guard.shut = True
        exec(code, self.space)
        missing = [n for n in self.functions if not callable(self.space.get(n))]
        if not missing:
            self.forward = self.space[self.functions[0]]
            self.space[self.functions[0]] = self._counted
        return {"missing": missing}

    def _counted(self, *arguments: Any, **named: Any) -> Any:
        """Stand for forward where the submission calls it: differences need it many times."""
        self.asked += 1
        if self.asked > AGAIN:
            self.guard.broken = (
                f"{self.functions[0]} called {self.asked} times in one {self.functions[1]} "
                "(derive the gradient; do not measure it)"
            )
            raise PermissionError(self.guard.broken)
        return self.forward(*arguments, **named)

    def on_forward(self, request: dict[str, Any]) -> dict[str, Any]:
        inputs = [laid_out(decoded(v), s) for v, s in request["inputs"]]
        before = [encoded(v) for v in inputs]
        with np.errstate(all="ignore"):
            returned = self.forward(*inputs)
        call = request["call"]
        if not isinstance(returned, tuple) or len(returned) < 2:
            return {"bad": f"{self.functions[0]} must return (output, cache)"}
        *outputs, cache = returned
        if len(outputs) == 1 and isinstance(outputs[0], tuple):
            outputs = list(outputs[0])
        self.caches[call] = (cache, inputs)
        for old in [c for c in self.caches if c < call - 4]:
            del self.caches[old]
        return {"outputs": encoded(outputs), **self._seen(call, before)}

    def on_backward(self, request: dict[str, Any]) -> dict[str, Any]:
        cache, inputs = self.caches[request["call"]]
        before = [encoded(v) for v in inputs]
        upstreams = [laid_out(decoded(v), s) for v, s in request["upstreams"]]
        given = [encoded(v) for v in upstreams]
        self.asked = 0
        with np.errstate(all="ignore"):
            returned = self.space[self.functions[1]](*upstreams, cache)
        changed = [e if (e := encoded(v)) != g else None for v, g in
                   zip(upstreams, given, strict=True)]  # fmt: skip
        return {"grads": encoded(returned), "upstreams": changed,
                **self._seen(request["call"], before)}  # fmt: skip

    def _seen(self, call: int, before: list[Any]) -> dict[str, Any]:
        """Return the inputs that were changed, and a digest of the cache."""
        cache, inputs = self.caches[call]
        changed = [e if (e := encoded(v)) != b else None for v, b in
                   zip(inputs, before, strict=True)]  # fmt: skip
        return {"inputs": changed, "digest": digest(cache)}


def laid_out(value: Any, strided: bool) -> Any:
    """Return an array in the memory layout that it has at the other end."""
    if not strided or not isinstance(value, np.ndarray) or value.ndim == 0:
        return value
    wide = np.zeros((*value.shape[:-1], 2 * value.shape[-1]), value.dtype)
    wide[..., ::2] = value
    return wide[..., ::2]


def digest(cache: Any) -> str:
    """Return a text that changes with the numbers in the cache; empty if it cannot be had."""
    try:
        return hashlib.sha256(json.dumps(encoded(cache, inside=True)).encode()).hexdigest()
    except Exception:
        return ""


def raised(error: BaseException, file: str) -> dict[str, Any]:
    """Return a traceback's last line, the submission's line it came from, and the shapes there."""
    own, trace, shapes = [], error.__traceback__, {}
    while trace is not None:  # not `traceback`, which opens files to show their lines
        if trace.tb_frame.f_code.co_filename == file:
            own.append(trace.tb_lineno)
            named = list(trace.tb_frame.f_locals.items())[:SHOWN]
            shapes = {k: list(np.shape(v)) for k, v in named if type(v) is np.ndarray}
        trace = trace.tb_next
    line = error.lineno if isinstance(error, SyntaxError) else own[-1] if own else None
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return {"type": type(error).__name__, "said": " ".join(said.split())[:300], "line": line,
            "shapes": shapes, "stub": isinstance(error, NotImplementedError)}  # fmt: skip


def main() -> None:
    """Serve until the grader is gone."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # what is printed behind Python's back goes nowhere
        os.dup2(nowhere, descriptor)
    preload()
    limit = limited().limit
    guard = Guard()
    sys.addaudithook(guard)
    server = Server(guard, limit)
    send(replies, {"ready": True})
    while True:
        try:
            request = receive(requests)
        except EOFError:
            break
        send(replies, server.answer(request))


def preload() -> None:
    """Load what NumPy would load later, when files are no longer opened."""
    np.random.default_rng(0).standard_normal(1)
    np.linalg.norm(np.einsum("i,i->i", np.ones(2), np.ones(2)))


if __name__ == "__main__":
    main()
