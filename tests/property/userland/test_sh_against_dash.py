"""Generated shell text means to our shell what it means to dash.

Each example is a batch of cases, so that a process is started for many; each case runs in a subshell and its status is
printed. Messages are each shell's own and are thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conformance.sh.inside import run_inside
from tests.conformance.sh.test_scripts import dash

FEW = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # of a batch the case that differs is told at once
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


def compare(cases: list[str], where: Path) -> None:
    script = "exec 2>/dev/null\n" + "".join(f'({case}\n)\necho "<$?>"\n' for case in cases)
    expected = dash(script, where)
    found = run_inside(script)
    if found != expected:
        theirs, ours = expected[0].split(b">\n"), found[0].split(b">\n")
        for number, (a, b) in enumerate(zip(theirs, ours)):
            assert b == a, cases[number] if number < len(cases) else "the end"
    assert found == expected


# ---- arithmetic ----

numbers = st.one_of(
    st.integers(0, 20), st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from([0, 1, 7, 8, 63, 64, 1 << 31])
)
atoms = st.one_of(
    numbers.map(lambda n: f"({n})" if n < 0 else str(n)),
    st.sampled_from(["a", "b", "$a", "${b}", "0x1F", "017", "zero"]),
)
BINARY = ["+", "-", "*", "/", "%", "<<", ">>", "<", "<=", ">", ">=", "==", "!=", "&", "|", "^", "&&", "||"]


def combine(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from(BINARY), inner).map(lambda t: f"{t[0]} {t[1]} {t[2]}"),
        inner.map(lambda e: f"({e})"),
        st.tuples(st.sampled_from(["-", "+", "!", "~"]), inner).map(lambda t: f"{t[0]} {t[1]}"),
        st.tuples(inner, inner, inner).map(lambda t: f"{t[0]} ? {t[1]} : {t[2]}"),
        st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["=", "+=", "-=", "*=", "|=", "^="]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
    )


expressions = st.recursive(atoms, combine, max_leaves=8)


def shifts_in_range(expression: str) -> bool:
    """C leaves shifts by more than the width, and the smallest number divided by -1, undefined: dash crashes there."""
    return "<<" not in expression and ">>" not in expression and "/" not in expression and "%" not in expression


@given(cases=st.lists(expressions.filter(shifts_in_range), min_size=20, max_size=40))
@FEW
def test_arithmetic(cases: list[str], tmp_path: Path, need: Callable[..., None]) -> None:
    need("dash")
    compare([f"a=3 b=-5; echo $(({case})) $a $b $c" for case in cases], tmp_path)


small = st.tuples(
    st.integers(-100, 100), st.sampled_from(["/", "%"]), st.integers(-9, 9), st.sampled_from(["<<", ">>"]),
    st.integers(0, 62),
)  # fmt: skip


@given(cases=st.lists(small, min_size=20, max_size=40))
@FEW
def test_division_and_shifts(
    cases: list[tuple[int, str, int, str, int]], tmp_path: Path, need: Callable[..., None]
) -> None:
    need("dash")
    compare([f"echo $(( ({a}) {op} ({b}) )) $(( ({a}) {shift} {n} ))" for a, op, b, shift, n in cases], tmp_path)


# ---- expansion, quoting, splitting ----

text = st.text(alphabet="ab*?[]-!: \t\n./\\'\"$~=", max_size=6)
value = st.text(alphabet="ab*?: \t\n./\\x", max_size=8)


def single(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


operators = st.sampled_from(["-", ":-", "+", ":+", "#", "##", "%", "%%", "=", ":="])
words = st.one_of(
    st.text(alphabet="ab*?: ", max_size=4),
    st.sampled_from(['"a b"', "'*'", "$y", '"$y"', "[a-b]*", "\\*", "${x}", "~"]),
)


def parameter(parts: tuple[str, str, str]) -> str:
    name, op, word = parts
    return f"${{{name}{op}{word}}}"


pieces = st.one_of(
    st.sampled_from(["$x", '"$x"', "${x}", "$y", '"$y"', "a", "'q r'", '"d $y"', "$@", '"$@"', "$*", '"$*"', "x$@y",
                     '"x$@y"', "${#x}", "$#", "\\ ", "\\$x", "''", '""', "`echo $x`", '"`echo "$x"`"', "$(echo $y)"]),
    st.tuples(st.sampled_from(["x", "y", "unset", "1"]), operators, words).map(parameter),
    st.tuples(st.sampled_from(["x", "y", "unset", "1"]), operators, words).map(lambda t: '"' + parameter(t) + '"'),
)  # fmt: skip


@st.composite
def expansion(draw: st.DrawFn) -> str:
    ifs = draw(st.sampled_from([None, ":", " ", ": ", "", "x", " \t\n:"]))
    lines = [f"x={single(draw(value))}; y={single(draw(value))}"]
    lines.append("set -- " + " ".join(single(v) for v in draw(st.lists(value, max_size=3))))
    if ifs is not None:
        lines.append(f"IFS={single(ifs)}")
    allowed = pieces
    if ifs and set(ifs) - set(" \t\n"):  # dash loses or adds empty fields where the parameters meet what is split
        allowed = pieces.filter(lambda piece: "@" not in piece and piece != "$*")
    word = "".join(draw(st.lists(allowed, min_size=1, max_size=4)))
    lines.append(f"for i in {word}; do printf '[%s]' \"$i\"; done")
    if "@" not in word:  # where it is not split, what it is joined with is each shell's own
        lines.append(f"z={word}; printf '(%s)\\n' \"$z\"")
    return "; ".join(lines)


@given(cases=st.lists(expansion(), min_size=15, max_size=30))
@FEW
def test_expansion_and_splitting(cases: list[str], tmp_path: Path, need: Callable[..., None]) -> None:
    need("dash")
    compare(["set -f; " + case for case in cases], tmp_path)


# ---- patterns ----

parts = ["a", "b", "*", "?", "-", "!", ".", "]", "[ab]", "[!a]", "[a-b]", "[]a]", "[!]b]", "[a-]", "[[:alpha:]]",
         "[!-.]", "\\*", "\\\\", "[*]", "[[:digit:]b]"]  # fmt: skip
patterns = st.lists(st.sampled_from(parts), max_size=5).map("".join)
subjects = st.text(alphabet="ab-]!.\\[", max_size=6)


@given(cases=st.lists(st.tuples(patterns, subjects), min_size=20, max_size=40))
@FEW
def test_patterns(cases: list[tuple[str, str]], tmp_path: Path, need: Callable[..., None]) -> None:
    need("dash")
    compare(
        [
            f"p={single(p)}; s={single(s)}; case $s in $p) echo yes;; *) echo no;; esac; echo \"${{s#$p}} ${{s%$p}}\""
            for p, s in cases
        ],
        tmp_path,
    )  # fmt: skip


# ---- read ----


@given(
    cases=st.lists(
        st.tuples(value, st.sampled_from([":", " ", ": ", "x:", ""]), st.integers(1, 3)), min_size=15, max_size=30
    )
)
@FEW
def test_read(cases: list[tuple[str, str, int]], tmp_path: Path, need: Callable[..., None]) -> None:
    need("dash")
    compare(
        [
            f"printf '%s\\n' {single(v)} | {{ IFS={single(ifs)} read {raw} {' '.join('abc'[:n])}; "
            "echo \"$?[$a][$b][$c]\"; }"
            for v, ifs, n in cases for raw in ("", "-r")
        ],
        tmp_path,
    )  # fmt: skip


# ---- programs ----

commands = st.recursive(
    st.sampled_from(["true", "false", "echo a", "(exit 3)", "x=$((x+1))", "echo $x", "f", "break", "continue",
                     "return 4",
                     "exit 5", "set -e", "test $x -gt 2", ":"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" && ", " || ", "; ", " | "]), inner).map(
            lambda t: f"{{ {t[0]}{t[1]}{t[2]}; }}"
        ),
        inner.map(lambda c: f"( {c} )"),
        inner.filter(lambda c: not c.startswith("!")).map(lambda c: f"! {c}"),
        st.tuples(inner, inner, inner).map(lambda t: f"if {t[0]}; then {t[1]}; else {t[2]}; fi"),
        inner.map(lambda c: f"for i in 1 2; do echo $i; {c}; done"),
        inner.map(lambda c: f"{{ n=0; while [ $n -lt 3 ]; do n=$((n+1)); {c}; done; }}"),
        inner.map(lambda c: f"case $x in 0) {c};; *) echo other;; esac"),
        inner.map(lambda c: f"y=$({c}); echo \"$? $y\""),
        inner.map(lambda c: f"eval '{c}'" if "'" not in c else c),
    ),
    max_leaves=6,
)  # fmt: skip


@given(cases=st.lists(commands, min_size=10, max_size=20))
@FEW
def test_control_flow(cases: list[str], tmp_path: Path, need: Callable[..., None]) -> None:
    need("dash")
    compare(
        [f"x=0; f() {{ echo f; return 2; }}; g() {{ {case}; echo end $? $x; }}; g; echo $?" for case in cases], tmp_path
    )


def test_a_difference_is_seen(tmp_path: Path, need: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    need("dash")
    case = tmp_path / "case.sh"
    with pytest.raises(AssertionError, match="echo two"):
        monkeypatch.setattr(
            "tests.property.userland.test_sh_against_dash.run_inside", lambda script: (b"1\n<0>\n1\n<0>\n", 0)
        )
        compare(["echo 1", "echo two"], case.parent)
