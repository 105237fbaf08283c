"""The official conformance suite against our server face (tests/conformance/README.md)."""
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURE = ROOT / "build/meson/tests/conformance/fixture"


CELLS = ["direct", "direct-modern", "legacy-to-modern", "modern-to-modern"]


@pytest.mark.slow
@pytest.mark.skipif(not FIXTURE.exists(), reason="ninja -C build/meson tests/conformance/fixture")
def test_the_suite_finds_nothing_that_is_not_listed():
    command = [ROOT / "tests/conformance/run", *(f"--cell={cell}" for cell in CELLS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr
