"""Configuration: how each mistake is told."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from compare.description.config import Config, load
from compare.errors import UserError
from tests.compare.description.config_files import NETWORK, Write, complaint

ODDITIES = st.one_of(
    st.sampled_from([0, -1, 1.5, True, "", "a b", "x", [], {}, [1], {"a": 1}, [[]], [{}]]),
    st.sampled_from([float("nan"), float("inf"), 2**63 - 1, date(2020, 1, 1), "input"]),
    st.sampled_from(["Linear", "SGD", "MSELoss", "Step", "normal", {"type": "Step"}, ["stem"]]),
)


class TestMistakes:
    """Each says the file, the table and the key, what was received, and what is valid."""

    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("[trian]\nsteps = 1", ["'trian'", "Did you mean 'train'?"]),
            ("[train]\nstep = 1", ["[train], key 'step'", "Did you mean 'steps'"]),
            ("[train]\nsteps = 0", ["[train], key 'steps'", "greater", "received 0"]),
            ("[train]\nsteps = -5", ["key 'steps'", "received -5"]),
            ("[train]\nepochs = 0", ["key 'epochs'", "received 0"]),
            ("[train]\nsteps = 1.5", ["key 'steps'", "valid integer", "received 1.5"]),
            ("[train]\nsteps = '9'", ["key 'steps'", "valid integer", "received '9'"]),
            ("[train]\nsteps = true", ["key 'steps'", "received True"]),
            ("[train]\nsteps = 1\nepochs = 1", ["[train]", "'steps' and 'epochs'"]),
            ("[train]\nbatch_size = 0", ["key 'batch_size'", "'all'", "received 0"]),
            ("[train]\nbatch_size = 'full'", ["valid integer or 'all'", "received 'full'"]),
            ("[train]\ndtype = 'float8'", ["key 'dtype'", "'float16' or 'bfloat16'"]),
            ("[train]\nmode = 'loose'", ["key 'mode'", "'lockstep' or 'free'"]),
            ("[train]\nshuffle = 1", ["key 'shuffle'", "boolean"]),
            ("[train]\nseed = -1", ["key 'seed'", "received -1"]),
            ("[train]\nthreads = 0", ["key 'threads'", "received 0"]),
            ("[train]\ndevice = 'gpu'", ["key 'device'", "received 'gpu'"]),
            ("[compare]\nk = 0", ["[compare], key 'k'", "greater than 0"]),
            ("[compare]\nk = nan", ["[compare], key 'k'"]),
            ("[compare]\ngauge_every = 0", ["key 'gauge_every'"]),
            ("[compare]\ntolerance = [1e-5]", ["[compare], key 'tolerance'"]),
            ("[compare]\ntolerance = [-1, 0]", ["[compare], key 'tolerance'", "received -1"]),
            ("[loss]\ntype = 'CrossEntropy'", ["[loss]", "Did you mean 'CrossEntropyLoss'"]),
            ("[loss]\nreduction = 'none'", ["[loss]", "'none'"]),
            ("[loss]\nreduktion = 'sum'", ["key 'reduktion'", "Did you mean 'reduction'?"]),
            ("[loss]\nlabel_smoothing = 'a'", ["'label_smoothing'", "float", "received 'a'"]),
            ("[loss]\nweight = 'a'", ["key 'weight'", "received 'a'"]),
            ("[[loss.penalties]]\ntype = 'L2'", ["[[loss.penalties]] table 1", "L2Penalty"]),
            ("[[loss.penalties]]\ncoefficient = 1", ["table 1, key 'type'", "missing"]),
            (
                "[[loss.penalties]]\ntype='L2Penalty'\nparameters=[]",
                ["[[loss.penalties]] table 1, key 'parameters'"],
            ),
            ("[optimizer]\ntype = 'sgd'", ["[optimizer]", "Did you mean 'SGD'?"]),
            ("[optimizer]\nlearning_rate = 1", ["key 'learning_rate'", "It takes: lr"]),
            ("[optimizer]\nlr = '1'", ["key 'lr'", "wants float", "received '1'"]),
            ("[optimizer]\nlr = -1", ["[optimizer]", "SGD", "-1"]),
            ("[optimizer]\nlr = 2020-01-01", ["[optimizer]", "key 'lr'"]),
            ("[optimizer]\ntype = 'Adam'\nbetas = [0.9]", ["key 'betas'", "[0.9]"]),
            ("[optimizer]\nclip_norm = 0", ["key 'clip_norm'", "greater than 0"]),
            ("[optimizer]\nschedule = 'Step'", ["[optimizer.schedule]", "table"]),
            ("[optimizer.schedule]\ntype = 'Stap'", ["[optimizer.schedule]", "'Step'"]),
            ("[optimizer.schedule]\ntype='Step'", ["key 'step_size' is missing"]),
            ("[init]\nscheme = 'xavier'", ["[init]", "'xavier_normal'"]),
            ("[init]\nstd = 1", ["[init], key 'std'", "default has no such argument"]),
            ("[init]\nbias = 'one'", ["[init], key 'bias'", "received 'one'"]),
            ("[init]\nfile = 'w.safetensors'", ["[init], key 'file'", "there is no"]),
        ],
    )
    def test_a_wrong_table_is_told(self, write: Write, text: str, parts: list[str]) -> None:
        path = write(NETWORK + text)
        said = complaint(path)

        assert said.startswith(path)
        for part in parts:
            assert part in said

    def test_a_setting_without_its_table_is_told_how_it_is_named(self, write: Write) -> None:
        named = "named with its table: optimizer.lr, in Python optimizer__lr."

        assert named in complaint(write("lr = 0.1\n" + NETWORK))
        assert named not in complaint(write(NETWORK + "[optimiser]\nlr = 0.1"))

    @pytest.mark.parametrize(
        ("old", "new", "parts"),
        [
            ('"Tanh"', '"Tahn"', ["[[layers]] table 2 ('1')", "unknown layer 'Tahn'", "'Tanh'"]),
            ('type = "Tanh"', 'kind = "Tanh"', ["table 2 ('1'), key 'type'", "missing"]),
            ('type = "Tanh"', 'type = "Tanh"\nx = 1', ["key 'x'", "Tanh", "takes none"]),
            ("in_features = 4", "in_feature = 4", ["table 1 ('hidden')", "'in_features' or"]),
            ("in_features = 4", "", ["key 'in_features' is missing", "Linear"]),
            ("in_features = 4", "in_features = 4.0", ["wants int", "received 4.0"]),
            ("in_features = 4", "in_features = -4", ["[[layers]] table 1 ('hidden')", "Linear"]),
            ('name = "head"', 'name = "hidden"', ["table 3", "'hidden' is already taken"]),
            ('name = "head"', 'name = "input"', ["'input' is reserved"]),
            ('name = "head"', 'name = "loss"', ["'loss' is reserved"]),
            ('name = "head"', 'name = "a b"', ["key 'name'", "received 'a b'"]),
            ('name = "head"', 'inputs = ["hiden"]', ["table 3", "no layer 'hiden'", "'hidden'?"]),
            ('name = "head"', "inputs = 3", ["key 'inputs'", "received 3"]),
            ('dataset = "iris"', 'dataset = "irs"', ["[data]", "Did you mean 'iris'"]),
            ('dataset = "iris"', 'dataset = "iris"\nn = 3', ["[data], key 'n'"]),
            ('dataset = "iris"', 'scale = "max"', ["[data], key 'scale'", "'minmax'"]),
            ('dataset = "iris"', 'dataset = "iris"\nfile = "t.csv"', ["'dataset' and 'file'"]),
            ('dataset = "iris"', 'file = "t.csv"', ["[data]", "key 'target' is missing"]),
            ('dataset = "iris"', 'file = "t.csv"\ntarget = "y"', ["key 'file': there is no"]),
            ('dataset = "iris"', 'target = "y"', ["[data]", "key 'target' is for a file"]),
            ('dataset = "iris"', "limit = 1", ["[data], key 'limit'"]),
            ('dataset = "iris"', "target_one_hot = true", ["'target_one_hot'", "CrossEntropyLoss"]),
            ('dataset = "iris"', 'dataset = "random_regression"\nn = 0', ["key 'n'", "at least 1"]),
        ],
    )
    def test_a_wrong_network_or_data_table_is_told(
        self, write: Write, old: str, new: str, parts: list[str]
    ) -> None:
        said = complaint(write(NETWORK.replace(old, new)))

        for part in parts:
            assert part in said

    def test_no_layers_at_all_is_told(self, write: Write) -> None:
        assert "[[layers]]" in complaint(write("[data]\ndataset = 'iris'\n"))
        assert "[[layers]]" in complaint(write("layers = []"))

    def test_a_table_where_an_array_belongs_is_told(self, write: Write) -> None:
        assert "write [[layers]]" in complaint(write("[layers]\ntype = 'Tanh'"))

    def test_broken_toml_is_told_with_its_line(self, write: Write) -> None:
        said = complaint(write("[data]\ndataset = \n"))

        assert "not valid TOML" in said
        assert "line 2" in said

    def test_other_encodings_are_told(self, tmp_path: Path) -> None:
        (tmp_path / "net.toml").write_bytes("summary = 'é'".encode("latin-1"))

        assert "cannot be read" in complaint(tmp_path / "net.toml")

    def test_an_unknown_preset_lists_the_nearest(self) -> None:
        said = complaint("dig")

        assert "no preset 'dig'" in said
        assert "'digits'" in said

    def test_a_missing_file_lists_the_nearest(self, write: Write) -> None:
        path = write(NETWORK)

        assert "'net.toml'" in complaint(path.replace("net", "ent"))
        assert "no folder" in complaint("/nowhere/at/all.toml")

    def test_a_directory_is_no_run(self, tmp_path: Path) -> None:
        assert "is a directory" in complaint(str(tmp_path))

    def test_a_name_never_leaves_the_reports_folder(self, write: Write) -> None:
        assert "key 'name'" in complaint(write("name = '../../etc'" + NETWORK))

    def test_several_mistakes_are_told_at_once(self, write: Write) -> None:
        said = complaint(write(NETWORK + "[train]\nsteps = 0\nseed = 'x'\n"))

        assert "'steps'" in said
        assert "'seed'" in said

    @settings(derandomize=True, deadline=None, max_examples=150)
    @given(path=st.lists(st.integers(0, 20), min_size=1, max_size=4), value=ODDITIES)
    def test_anything_anywhere_is_told_or_loaded_but_never_crashes(
        self, path: list[int], value: Any
    ) -> None:
        tables = load("residual").as_dict()
        here: Any = tables
        for step in path[:-1]:
            below = list(here.values()) if isinstance(here, dict) else here
            inner = [item for item in below if isinstance(item, dict | list) and item]
            here = inner[step % len(inner)] if inner else here
        keys = [*here, "odd"] if isinstance(here, dict) else list(range(len(here)))
        here[keys[path[-1] % len(keys)]] = value
        with TemporaryDirectory() as folder:
            file = Path(folder) / "odd.toml"
            file.write_text(tomli_w.dumps(tables))

            with suppress(UserError):
                config = load(file)
                assert Config.model_validate(config.as_dict()) == config


@pytest.mark.parametrize("kind", [[[]], {"type": "Linear"}, 1, True])
def test_a_type_that_is_no_text_is_told(kind: Any) -> None:
    with pytest.raises(UserError, match="'type': should be a valid string"):
        load("three-rows", {"loss": {"type": kind}})
