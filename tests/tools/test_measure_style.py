"""tools/measure_style.py: counts by hand, and a file that breaks each limit is named."""

import ast
from pathlib import Path

import pytest

from tools import measure_style

SMALL = '''
def plain(a, b=1, *rest, c, **more):
    """One line
    and another."""
    if a:
        return b
    for x in rest:
        while x and c:
            x -= 1

    def inner():
        if a:
            return 1

    return [y for y in rest if y]
'''


def small_functions() -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.walk(ast.parse(SMALL)) if isinstance(node, ast.FunctionDef)}


def test_counts_by_hand():
    plain = small_functions()["plain"]
    assert measure_style.body_lines(plain) == 11  # from `if a` to `return`, the blank lines between included
    assert measure_style.complexity(plain) == 4  # 1 + if + for + while; the inner function counts by itself
    assert measure_style.complexity(small_functions()["inner"]) == 2
    assert measure_style.parameters(plain) == 5


def test_self_is_not_a_parameter():
    method = ast.parse("class A:\n    def m(self, a): pass").body[0].body[0]
    assert measure_style.parameters(method) == 1


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5), (0.95, 10), (0.9, 9), (0.0, 1)])
def test_quantile_of_ten_numbers(share, expected):
    assert measure_style.quantile(range(10, 0, -1), share) == expected


def faulty(key: str) -> str:
    return {
        "body": "def f():\n" + "    x = 1\n" * 81,
        "complexity": "def f(a):\n" + "    if a:\n        a = 1\n" * 10,
        "parameters": "def f(a, b, c, d, e, g, h, i):\n    pass\n",
        "file": "x = 1\n" * 501,
    }[key]


@pytest.mark.parametrize("key", sorted(measure_style.MEASURES))
def test_negative_control_each_limit_is_enforced(key, tmp_path: Path, capsys):
    (tmp_path / "long.py").write_text(faulty(key))
    assert measure_style.main([str(tmp_path)]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert "long.py" in last and measure_style.MEASURES[key].name in last and "the limit is" in last


def test_small_file_is_within_limits(tmp_path: Path, capsys):
    (tmp_path / "small.py").write_text(SMALL)
    assert measure_style.main([str(tmp_path)]) == 0
    assert "the limit is" not in capsys.readouterr().out


def test_same_limits_as_style_and_ruff(project_root: Path):
    ruff = (project_root / "pyproject.toml").read_text()
    assert f"max-complexity = {measure_style.MEASURES['complexity'].limit}" in ruff
    assert f"max-args = {measure_style.MEASURES['parameters'].limit}" in ruff
