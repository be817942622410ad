"""YAML text becomes plain data by the rules of YAML 1.2, with nothing lost and nothing guessed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystator.definition.load import check_text
from pystator.definition.text import decode, read

SCALARS = {
    "on": "on", "off": "off", "yes": "yes", "no": "no", "y": "y", "On": "On",
    "12:30": "12:30", "1:30:00": "1:30:00", "2024-01-31": "2024-01-31", "1_000": "1_000",
    "true": True, "True": True, "FALSE": False, "null": None, "~": None, "Null": None, "": None,
    "0": 0, "-7": -7, "+7": 7, "007": 7, "0o17": 15, "0x1F": 31, "0b11": "0b11",
    "1.5": 1.5, "-.5": -0.5, "1.": 1.0, "1e3": 1000.0, "1.5E-3": 0.0015, "1.2.3": "1.2.3",
    "'true'": "true", '"5"': "5", "!!str 5": "5", "!!int 5": 5, "!!float 5": 5.0, "! 5": "5",
    "-": None, "tRue": "tRue", ".": ".", "e5": "e5", "0x": "0x", "=": "=", "null ": None,
}  # fmt: skip


@pytest.mark.parametrize("written", [key for key in SCALARS if key != "-"])
def test_scalars_mean_what_yaml_1_2_says(written):
    """A trigger named `on` or a country `no` must stay text: YAML 1.1 made booleans of them."""
    found = read(f"key: {written}\n").data["key"]
    assert (SCALARS[written], type(SCALARS[written])) == (found, type(found))


def test_a_list_of_plain_words_keeps_them():
    """The same rules hold in flow collections and as keys."""
    assert read("on: [on, off, 1, true]").data == {"on": ["on", "off", 1, True]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(
        st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]),
        max_size=12,
    ),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text("abc<_é", min_size=1, max_size=5), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=4), JSON, min_size=1, max_size=4))
def test_json_is_yaml(data):
    """A machine that another program wrote as JSON is loaded as it is."""
    reading = read(json.dumps(data, ensure_ascii=False))
    assert not reading.issues
    assert data == reading.data


@pytest.mark.parametrize("character", list("\x7f\x85\x9f\u2028\u2029\ufffe\uffff"))
def test_json_may_hold_characters_that_yaml_may_not(character):
    """Two of them end a line in YAML 1.1: a browser that copies text into JSON leaves them there."""
    data = {"a": f"x{character}y", "b": [f" {character}", character], f"c{character}": "\U0001f389"}
    for text in (json.dumps(data, ensure_ascii=False), json.dumps(data, indent=1)):
        assert data == read(text).data


def test_json_may_escape_characters_outside_the_basic_plane():
    """`json.dumps` writes an emoji as a surrogate pair, which libyaml alone does not read."""
    data = {"meta": {"description": "paid 🎉"}}
    assert data == read(json.dumps(data)).data


def test_indented_json_with_tabs_is_read():
    """JSON is often indented by tabs, which YAML forbids only for indentation in blocks."""
    assert read('{\n\t"a": [\n\t\t1,\n\t\t2\n\t]\n}\n').data == {"a": [1, 2]}


def test_an_alias_is_the_value_of_its_anchor():
    """Shared guards are written once."""
    assert read("a: &x [1, {b: 2}]\nc: *x").data == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}


def test_a_merge_key_brings_what_is_not_said():
    """Own keys win over merged ones, earlier sources over later ones."""
    text = "base: &b {x: 1, y: 1}\nmore: &m {y: 2, z: 2}\nall:\n  <<: [*b, *m]\n  x: 0\n"
    assert read(text).data["all"] == {"x": 0, "y": 1, "z": 2}


def test_a_byte_order_mark_is_no_character():
    """Editors on Windows write one; a machine must not be refused for it."""
    text, issue = decode(b"\xef\xbb\xbfstates: []\n")
    assert issue is None
    assert read(text).data == {"states": []}
    assert read("\ufeffstates: []").data == {"states": []}


def test_windows_line_ends_keep_positions():
    """Line and column are those of the editor."""
    _, issues = check_text("states:\r\n  - name: Open\r\n    type: initial\r\ntransitions: []\r\n")
    assert [(issue.line, issue.column) for issue in issues] == [(2, 11)]


def test_columns_count_characters_not_bytes():
    """A comment or text in any script before a mistake does not move it."""
    text = "meta: {a: 'žluťoučký 🎉 kůň', strict_mode: 7}\nstates: [{name: a, type: initial}]\n"
    _, issues = check_text(text + "transitions: []\n")
    assert [(1, text.index("7") + 1)] == [(issue.line, issue.column) for issue in issues]


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        (b"\xff\xfes\x00", 1, "UTF-16"),
        ("states: []\n".encode("utf-16-le"), 1, "UTF-16"),
        ("states: []\n".encode("utf-16-be"), 1, "UTF-16"),
        ("states: []\nmeta: é\n".encode("latin-1"), 2, "0xe9"),
    ],
)
def test_what_is_not_utf_8_is_refused_with_its_line(content, line, said):
    """Guessing an encoding would corrupt names silently."""
    _, issue = decode(content)
    assert issue.line == line
    assert said in issue.message
    assert "UTF-8" in issue.message


SNIPPETS = st.sampled_from(
    ["states:", "transitions:", "- ", "  ", "\n", "name: ", "a", "open", "{", "}", "[", "]", ",", ":",
     "'", '"', "&x ", "*x", "<<: ", "!!int ", "| ", "> ", "#", "---\n", "...\n", "\t", "? ", "type: ",
     "initial", "guards:", "expr: ", "source: ", "dest: ", "trigger: ", "1", "1.5", "null", "%", "@",
     "\\", "é", "\u2028", "\x07", "-", "after: ", "5s", "on_enter: ", "set: ", "meta: "]
)  # fmt: skip


@given(st.lists(SNIPPETS, max_size=40).map("".join))
def test_no_text_breaks_the_loader(text):
    """Whatever is thrown at it, the answer is a machine or issues with places inside the text."""
    definition, issues = check_text(text)
    assert definition is not None or issues
    lines = len(text.splitlines()) + 2
    for issue in issues:
        assert 0 <= issue.line <= lines
        assert issue.message
