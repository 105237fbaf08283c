"""schemathesis against the running binary's own description, and the description itself."""
import os
import subprocess
import sys

import pytest
from conftest import ROOT
from openapi_spec_validator import validate


def run(gw, examples, seconds, *options):
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(ROOT / "tests/integration/schemathesis.toml"),
               "run", f"{gw.url}/openapi.json", "-H", f"Authorization: Bearer {gw.key}", "--max-examples", str(examples),
               "--no-color", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, cwd=gw.data)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "generated" in done.stdout


def test_the_description_is_valid_openapi(gateway):
    validate(gateway().request("GET", "/openapi.json", key=None).json)


@pytest.mark.timeout(300)
def test_every_route_does_what_it_says(gateway):
    run(gateway(), 3, 280, "--generation-deterministic")  # the long run looks for what is new


@pytest.mark.slow
@pytest.mark.timeout(1900)
@pytest.mark.skipif(not os.environ.get("TEST_EXTENDED"), reason="takes up to half an hour: TEST_EXTENDED=1 runs it")
def test_every_route_does_what_it_says_for_long(gateway):
    run(gateway(), 100, 1800)
