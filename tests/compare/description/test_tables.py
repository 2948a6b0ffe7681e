"""Data from files: columns, encodings, and every way in which a file can be unusable."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.compare.description.data_files import complaint, loaded, written


class TestTables:
    CSV = "a,b,kind,label\n1,2.5,red,cat\n3,4,blue,dog\n5,6,red,cat\n"

    def test_string_labels_are_numbered_in_sorted_order(self, tmp_path: Path) -> None:
        data = loaded(file=written(tmp_path, self.CSV), target="label", features=["a", "b"])

        assert data.classes == ("cat", "dog")
        np.testing.assert_array_equal(data.targets, [0, 1, 0])
        np.testing.assert_array_equal(data.features, [[1, 2.5], [3, 4], [5, 6]])
        assert data.feature_names == ("a", "b")

    def test_numeric_labels_are_numbered_as_numbers(self, tmp_path: Path) -> None:
        data = loaded(file=written(tmp_path, "x,y\n1,10\n2,9\n3,-1\n4,10\n"), target="y")

        assert data.classes == ("-1", "9", "10")
        np.testing.assert_array_equal(data.targets, [2, 1, 0, 2])

    def test_the_order_of_classes_can_be_given(self, tmp_path: Path) -> None:
        file = written(tmp_path, self.CSV)
        data = loaded(file=file, target="label", features=["a"], classes=["dog", "cat", "owl"])

        assert data.classes == ("dog", "cat", "owl")
        np.testing.assert_array_equal(data.targets, [1, 0, 1])

    def test_one_hot_spreads_a_text_column(self, tmp_path: Path) -> None:
        data = loaded(file=written(tmp_path, self.CSV), target="label", one_hot=["kind"])

        assert data.feature_names == ("a", "b", "kind=blue", "kind=red")
        np.testing.assert_array_equal(data.features[:, 2:], [[0, 1], [1, 0], [0, 1]])

    def test_a_class_may_be_called_NA(self, tmp_path: Path) -> None:  # noqa: N802
        data = loaded(file=written(tmp_path, "x,y\n1,NA\n2,EU\n"), target="y")

        assert data.classes == ("EU", "NA")

    def test_several_target_columns_are_float_columns(self, tmp_path: Path) -> None:
        file = written(tmp_path, "x,y,z\n1,2,3\n4,5,6\n")
        data = loaded(file=file, target=["z", "y"], target_kind="values")

        np.testing.assert_array_equal(data.targets, [[3, 2], [6, 5]])
        assert data.target_names == ("z", "y")

    def test_true_and_false_are_one_and_zero(self, tmp_path: Path) -> None:
        file = written(tmp_path, "x,y\nTrue,1.5\nFalse,2.5\n")
        data = loaded(file=file, target="y", target_kind="values")

        np.testing.assert_array_equal(data.features, [[1], [0]])

    def test_delimiter_and_byte_order_mark_are_understood(self, tmp_path: Path) -> None:
        file = written(tmp_path, "\ufeffx;y\n1;0\n2;1\n")

        assert loaded(file=file, target="y", delimiter=";").feature_names == ("x",)

    def test_tsv_is_split_at_tabs(self, tmp_path: Path) -> None:
        file = written(tmp_path, "x\ty\n1\t0\n2\t1\n", "table.tsv")

        assert loaded(file=file, target="y").rows == 2

    def test_parquet_gives_what_csv_gives(self, tmp_path: Path) -> None:
        import pandas as pd

        frame = pd.read_csv(written(tmp_path, self.CSV))
        frame.to_parquet(tmp_path / "table.parquet")
        settings = {"target": "label", "one_hot": ["kind"], "scale": "standard"}
        from_csv = loaded(file=str(tmp_path / "table.csv"), **settings)
        from_parquet = loaded(file=str(tmp_path / "table.parquet"), **settings)

        np.testing.assert_array_equal(from_csv.features, from_parquet.features)
        np.testing.assert_array_equal(from_csv.targets, from_parquet.targets)

    def test_npz_keeps_the_shape_of_features(self, tmp_path: Path) -> None:
        x = np.arange(24.0).reshape(4, 2, 3)
        np.savez(tmp_path / "t.npz", x=x, y=np.array(["b", "a", "b", "a"]))
        data = loaded(file=str(tmp_path / "t.npz"), target="y")

        np.testing.assert_array_equal(data.features, x)
        assert data.classes == ("a", "b")
        np.testing.assert_array_equal(data.targets, [1, 0, 1, 0])
        assert len(data.feature_names) == 6

    def test_npz_without_x_joins_all_other_arrays(self, tmp_path: Path) -> None:
        file = tmp_path / "t.npz"
        np.savez(file, one=np.arange(3), two=np.arange(3) * 2.0, t=np.arange(6.0).reshape(3, 2))
        data = loaded(file=str(file), target="t", target_kind="values")

        np.testing.assert_array_equal(data.features, [[0, 0], [1, 2], [2, 4]])
        assert data.feature_names == ("one", "two")
        assert data.targets.shape == (3, 2)


class TestUnusable:
    def test_a_missing_file_names_the_files_there(self, tmp_path: Path) -> None:
        written(tmp_path, "x,y\n", "grades.csv")

        assert "'grades.csv'" in complaint(file=str(tmp_path / "grade.csv"), target="y")

    def test_a_missing_folder_is_named(self, tmp_path: Path) -> None:
        assert "no folder" in complaint(file=str(tmp_path / "no" / "t.csv"), target="y")

    def test_a_directory_is_no_data_file(self, tmp_path: Path) -> None:
        (tmp_path / "d.csv").mkdir()

        assert "is a directory" in complaint(file=str(tmp_path / "d.csv"), target="y")

    @pytest.mark.parametrize("text", ["", "x,y\n", "\n\n"])
    def test_an_empty_table_is_refused(self, tmp_path: Path, text: str) -> None:
        said = complaint(file=written(tmp_path, text), target="y")

        assert "empty" in said or "no rows" in said or "No columns" in said

    def test_a_missing_target_lists_the_nearest_columns(self, tmp_path: Path) -> None:
        said = complaint(file=written(tmp_path, "x,label\n1,2\n2,3\n"), target="lable")

        assert "target column 'lable'" in said
        assert "Did you mean 'label'?" in said

    def test_a_missing_feature_is_named(self, tmp_path: Path) -> None:
        said = complaint(file=written(tmp_path, "x,y\n1,2\n2,3\n"), target="y", features=["z"])

        assert "features column 'z'" in said

    def test_a_wrong_delimiter_is_suspected(self, tmp_path: Path) -> None:
        assert "delimiter" in complaint(file=written(tmp_path, "x;y\n1;2\n"), target="y")

    def test_the_target_alone_is_not_enough(self, tmp_path: Path) -> None:
        assert "no columns beside" in complaint(file=written(tmp_path, "y\n1\n2\n"), target="y")

    def test_text_in_a_numeric_column_is_named_with_its_row(self, tmp_path: Path) -> None:
        said = complaint(file=written(tmp_path, "x,y\n1,0\n2,1\nten,0\n"), target="y")

        assert "column 'x' is not numeric: row 3 holds 'ten'" in said
        assert "one_hot" in said

    def test_one_hot_of_an_unknown_column_is_named(self, tmp_path: Path) -> None:
        said = complaint(file=written(tmp_path, "x,y\n1,0\n2,1\n"), target="y", one_hot=["k"])

        assert "one_hot column 'k'" in said

    @pytest.mark.parametrize("bad", ["", "nan", "inf", "-inf", "1e39"])
    def test_a_feature_that_is_not_finite_is_named(self, tmp_path: Path, bad: str) -> None:
        file = written(tmp_path, f"u,x,y\n1,1,0\n1,{bad},1\n")
        said = complaint(file=file, target="y")

        assert "column 'x', row 2" in said

    @pytest.mark.parametrize("bad", ["", "nan", "inf"])
    @pytest.mark.parametrize("kind", ["classes", "values"])
    def test_a_target_that_is_not_finite_is_named(
        self, tmp_path: Path, bad: str, kind: str
    ) -> None:
        said = complaint(
            file=written(tmp_path, f"x,y\n1,0\n2,{bad}\n"), target="y", target_kind=kind
        )

        assert "'y'" in said
        assert "row 2" in said

    def test_a_label_outside_the_classes_is_named(self, tmp_path: Path) -> None:
        file = written(tmp_path, "x,y\n1,cat\n2,dog\n3,cow\n")
        said = complaint(file=file, target="y", classes=["cat", "dog"])

        assert "row 3 has the label 'cow', which is outside the classes" in said

    def test_a_fraction_is_no_class(self, tmp_path: Path) -> None:
        said = complaint(file=written(tmp_path, "x,y\n1,0\n2,1.5\n"), target="y")

        assert "holds 1.5 in row 2" in said

    def test_text_targets_of_many_classes_are_no_numbers(self, tmp_path: Path) -> None:
        file = written(tmp_path, "x,y\n1,a\n2,b\n3,c\n")

        assert "target_one_hot" in complaint(file=file, target="y", target_kind="values")

    def test_one_row_is_too_few(self, tmp_path: Path) -> None:
        said = complaint(file=written(tmp_path, "x,y\n1,0\n"), target="y")

        assert "at least two rows" in said

    def test_one_class_is_too_few(self, tmp_path: Path) -> None:
        said = complaint(file=written(tmp_path, "x,y\n1,a\n2,a\n"), target="y")

        assert "all 2 rows have the class 'a'" in said

    def test_ragged_rows_are_refused_with_their_line(self, tmp_path: Path) -> None:
        assert "line 3" in complaint(file=written(tmp_path, "x,y\n1,0\n1,2,3\n"), target="y")

    @pytest.mark.parametrize("suffix", [".parquet", ".npz", ".csv"])
    def test_garbage_is_refused(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"t{suffix}"
        path.write_bytes(b"\x93\x00\xff\xfe garbage " * 20)

        assert "cannot be read" in complaint(file=str(path), target="y")

    def test_a_truncated_npz_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "t.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", b"\x93NUMPY\x01\x00")

        assert "cannot be read" in complaint(file=str(path), target="y")

    def test_whatever_a_broken_archive_makes_its_reader_raise_is_told(self, tmp_path: Path) -> None:
        path = tmp_path / "t.npz"
        np.savez(path, x=np.zeros((4, 2)), y=np.arange(4))
        data = bytearray(path.read_bytes())
        data[data.index(b"PK\x01\x02") + 8] |= 0x20  # "patched data", which no zipfile can read
        path.write_bytes(bytes(data))
        assert "cannot be read" in complaint(file=str(path), target="y")

    def test_a_header_that_claims_more_than_fits_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "t.npz"
        header = io.BytesIO()
        about = {"descr": "<f8", "fortran_order": False, "shape": (10**15, 3)}
        np.lib.format.write_array_header_1_0(header, about)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", header.getvalue() + bytes(100))
        assert "3,000,000,000,000,0" in complaint(file=str(path), target="x")

    def test_a_few_bytes_that_unpack_to_many_are_refused(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr("compare.description.data.files.MOST", 10**5)
        np.savez_compressed(tmp_path / "t.npz", x=np.zeros((10**5, 2)), y=np.zeros(10**5))
        assert (tmp_path / "t.npz").stat().st_size < 10**4
        assert "at most 100,000 are read" in complaint(file=str(tmp_path / "t.npz"), target="y")

    def test_as_many_categories_as_rows_are_no_one_hot(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr("compare.description.data.columns.MOST", 1000)
        rows = "".join(f"{i},c{i}\n" for i in range(60))
        file = written(tmp_path, f"y,x\n{rows}")
        assert "60 different values" in complaint(file=file, target="y", one_hot=["x"])

    def test_a_pipe_is_never_opened(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.csv")
        assert "pipe.csv" in complaint(file=str(tmp_path / "pipe.csv"), target="y")

    def test_object_arrays_are_never_unpickled(self, tmp_path: Path) -> None:
        path = tmp_path / "t.npz"
        np.savez(path, x=np.ones((3, 1)), y=np.array(["a", 1, None], dtype=object))
        said = complaint(file=str(path), target="y")

        assert "array 'y'" in said
        assert "never loaded" in said

    @pytest.mark.parametrize("suffix", [".pkl", ".npy", ".xlsx", ""])
    def test_other_suffixes_are_refused(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"t{suffix}"
        path.write_bytes(pickle.dumps([1]))
        said = complaint(file=str(path), target="y")

        assert "suffix must be one of .csv, .tsv, .parquet, .npz" in said

    def test_an_npz_without_the_target_lists_its_arrays(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "t.npz", x=np.ones((3, 1)), labels=np.arange(3))

        assert "'labels'" in complaint(file=str(tmp_path / "t.npz"), target="label")

    def test_npz_arrays_of_different_length_are_named(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "t.npz", x=np.ones((3, 1)), y=np.arange(4))

        assert "x: 3, y: 4" in complaint(file=str(tmp_path / "t.npz"), target="y")

    def test_npz_features_of_text_are_named(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "t.npz", x=np.array(["a", "b"]), y=np.arange(2))

        assert "'x' is not numeric" in complaint(file=str(tmp_path / "t.npz"), target="y")

    def test_dates_are_not_numbers(self, tmp_path: Path) -> None:
        import pandas as pd

        frame = pd.DataFrame({"when": pd.to_datetime(["2020-01-01", "2020-01-02"]), "y": [0, 1]})
        frame.to_parquet(tmp_path / "t.parquet")

        assert "column 'when'" in complaint(file=str(tmp_path / "t.parquet"), target="y")


def test_rows_with_more_fields_than_the_header_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "a,b,label\n1,2,3,x\n4,5,6,y\n")

    assert "more fields than its header" in complaint(file=file, target=("label",))


@pytest.mark.parametrize("name", ["table.csv", "table.npz"])
def test_a_target_among_the_features_is_refused(tmp_path: Path, name: str) -> None:
    file = str(tmp_path / name)
    if name.endswith("npz"):
        np.savez(file, a=np.arange(4.0), label=np.arange(4.0))
    else:
        file = written(tmp_path, "a,label\n1,2\n3,4\n")

    told = complaint(file=file, target=("label",), features=("a", "label"))

    assert "'label' is the target and a feature too" in told
