"""Programs of Node.js that read the contract as strangers do: where they are, and how to get them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BIN = ROOT / ".ci" / "node" / "node_modules" / ".bin"
QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}


def run_node_tool(name: str, *words: str, folder: Path) -> str:
    """Run a program and return what it printed; it must end well. Skips the test where it is missing, but not in CI."""
    program = BIN / name
    if shutil.which("node") is None or not program.exists():
        (command,) = re.findall(r'"(npm install .*)"', (ROOT / ".ci" / "run").read_text())
        missing = f"{name} is missing; with Node.js 20 or newer run: {command}"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    done = subprocess.run(
        [program, *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **QUIET},
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed[-5000:]
    return printed
