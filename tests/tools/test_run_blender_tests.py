"""tools/run_blender_tests.py: the pieces that need no chroot."""

import subprocess

import pytest

from tools import run_blender_tests
from tools.dev import DevError


def answer(monkeypatch, listing):
    done = subprocess.CompletedProcess([], 0, stdout=listing)
    monkeypatch.setattr(run_blender_tests.subprocess, "run", lambda *_args, **_options: done)
    monkeypatch.delenv("DEBIAN_MIRROR", raising=False)


def test_mirror_is_that_of_apt(monkeypatch):
    answer(
        monkeypatch,
        "Other main https://a.invalid/\nDebian main https://b.invalid/debian-security\nDebian main https://c.invalid/debian\n",
    )
    assert run_blender_tests.debian_mirror() == "https://c.invalid/debian"


def test_mirror_can_be_named(monkeypatch):
    answer(monkeypatch, "")
    monkeypatch.setenv("DEBIAN_MIRROR", "https://d.invalid/debian")
    assert run_blender_tests.debian_mirror() == "https://d.invalid/debian"


def test_negative_control_no_mirror_is_an_error_that_says_what_to_do(monkeypatch):
    answer(monkeypatch, "Other main https://a.invalid/\n\n")
    with pytest.raises(DevError, match="DEBIAN_MIRROR"):
        run_blender_tests.debian_mirror()


def test_finished_chroot_is_left_alone(tmp_path):
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/blender").touch()
    run_blender_tests.make_chroot(tmp_path)


def test_negative_control_without_root_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(run_blender_tests.os, "geteuid", lambda: 1000)
    assert run_blender_tests.main([]) == 2
    assert "root" in capsys.readouterr().err


def test_a_panel_that_cannot_be_drawn_is_no_success(tmp_path):
    run_blender_tests.check_quiet("Blender 5.2.2 LTS\nSaved\n", tmp_path / "walk.log")
    said = "Saved\nTraceback (most recent call last):\n  File 'cleanup.py'\nTypeError: expected an int type, not str\n"
    with pytest.raises(run_blender_tests.DevError, match=r"walk.log:\n.*\n.*\nTypeError: expected an int"):
        run_blender_tests.check_quiet(said, tmp_path / "walk.log")
