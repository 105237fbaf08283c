"""Official clients of every revision with servers of every kind: docs/reference/compatibility.md is so."""
import os
import subprocess

import pytest
from conftest import CLIENTS, ROOT, binary

FIXTURE = ROOT / "build/meson/tests/conformance/fixture"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not FIXTURE.exists(), reason="ninja -C build/meson tests/conformance/fixture")
@pytest.mark.skipif(not (CLIENTS / "node_modules").exists(), reason="npm ci in tests/clients")
def test_what_works_with_what_is_as_the_page_says():
    """Section 8 of PROTOCOL, every cell of it."""
    done = subprocess.run([ROOT / "tools/compatibility", "--check"], capture_output=True, text=True, timeout=1700,
                          env={**os.environ, "GATESPAN_BIN": str(binary())})
    assert done.returncode == 0, done.stdout + done.stderr
