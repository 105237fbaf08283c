"""The official conformance suite against our server face (tests/conformance/README.md)."""
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURE = ROOT / "build/meson/tests/conformance/fixture"


SERVER = ["direct", "direct-modern", "legacy-to-legacy", "legacy-to-modern", "modern-to-legacy", "modern-to-modern", "chain"]
CLIENT = ["legacy-to-suite", "modern-to-suite"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not FIXTURE.exists(), reason="ninja -C build/meson tests/conformance/fixture")
@pytest.mark.parametrize("options", [[f"--cell={c}" for c in SERVER], [f"--cell={c}" for c in CLIENT]],
                         ids=["server", "client"])
def test_the_suite_finds_nothing_that_is_not_listed(options):
    command = [ROOT / "tests/conformance/run", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stdout + done.stderr
