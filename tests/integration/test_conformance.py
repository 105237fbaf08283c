"""The official conformance suite against our server face (tests/conformance/README.md)."""
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURE = ROOT / "build/meson/tests/conformance/fixture"


@pytest.mark.slow
@pytest.mark.skipif(not FIXTURE.exists(), reason="ninja -C build/meson tests/conformance/fixture")
def test_the_suite_finds_nothing_that_is_not_listed():
    done = subprocess.run([ROOT / "tests/conformance/run", "--cell", "direct"], capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
