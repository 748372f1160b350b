"""Code in a Python of its own, in which nothing has been imported yet."""

import os
import subprocess
import sys


def printed_by(code):
    """What the code prints, with the packages that are tested here."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.strip()
