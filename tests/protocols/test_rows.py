"""Rows: dicts with attributes, made when somebody looks."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.protocols.rows import Row, Rows


def rows(names: list[str], *tuples: tuple[object, ...]) -> Rows:
    return Rows(names, list(tuples), len(tuples), [(name, None) for name in names], "SELECT")


def test_a_row_is_a_dict_with_attributes():
    row = Row(id=1, name="a")
    assert row == {"id": 1, "name": "a"} and row.id == 1 and row["name"] == "a" and list(row) == ["id", "name"]
    assert json.dumps(row) == '{"id": 1, "name": "a"}'
    with pytest.raises(AttributeError, match=r"no column 'nam': there are id, name"):
        row.nam  # noqa: B018
    assert not hasattr(row, "nam")


def test_columns_with_odd_names():
    row = rows(["?column?", "two words", "items", "ä"], (1, 2, 3, 4))[0]
    assert row["?column?"] == 1 and row["two words"] == 2 and row["items"] == 3 and row.ä == 4
    assert callable(row.items)  # the dict's own


def test_they_behave_like_a_list():
    data = rows(["a"], (1,), (2,), (3,))
    assert len(data) == 3 and data and [row.a for row in data] == [1, 2, 3]
    assert data[0] == {"a": 1} and data[-1].a == 3 and data[1:] == [{"a": 2}, {"a": 3}]
    assert data == [{"a": 1}, {"a": 2}, {"a": 3}] and data == rows(["a"], (1,), (2,), (3,))
    assert data != [{"a": 1}, {"a": 2}] and data != [{"a": 1}, {"a": 2}, {"a": 4}] and data != "abc"
    assert {"a": 2} in data and data.index({"a": 2}) == 1 and next(reversed(data)).a == 3
    assert repr(data) == "[{'a': 1}, {'a': 2}, {'a': 3}]"
    assert json.dumps(data, default=list) == '[{"a": 1}, {"a": 2}, {"a": 3}]'
    with pytest.raises(IndexError):
        data[3]
    with pytest.raises(TypeError):
        hash(data)


def test_without_rows_they_are_empty():
    data = Rows([], [], 3, None, "INSERT 0 3")
    assert not data and data == [] and data.rowcount == 3 and data.status == "INSERT 0 3" and data.columns == []
    assert list(data) == [] and repr(data) == "[]" and data.notices == () and data.lastrowid is None


def test_a_row_is_made_once():
    data = rows(["a"], (1,), (2,))
    assert data.tuples == [(1,), (2,)] and data._rows is None
    data[0]["a"] = 5
    assert data[0].a == 5 and data[0] is next(iter(data)) and data.tuples == [(1,), (2,)]


@pytest.mark.parametrize(
    ("names", "distinct"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "a", "a"], ["a", "a_2", "a_3"]),
        (["a", "a", "a_2"], ["a", "a_3", "a_2"]),
        (["a_2", "a", "a"], ["a_2", "a", "a_3"]),
        (["?column?", "?column?"], ["?column?", "?column?_2"]),
    ],
)
def test_a_name_that_comes_twice_gets_a_number(names: list[str], distinct: list[str]):
    data = rows(names, tuple(range(len(names))))
    assert data.columns == distinct
    assert data[0] == dict(zip(distinct, range(len(names)), strict=True))


@given(st.lists(st.sampled_from(["a", "a_2", "a_3", "b", ""]), max_size=8))
def test_no_column_is_lost(names: list[str]):
    columns = rows(names).columns
    assert len(set(columns)) == len(columns) == len(names)
    values = tuple(range(len(names)))
    assert tuple(rows(names, values)[0].values()) == values


def test_they_can_be_pickled():
    data = rows(["a"], (1,))
    again = pickle.loads(pickle.dumps(data))
    assert again == data and again.columns == ["a"] and again[0].a == 1
