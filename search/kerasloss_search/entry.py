"""Where the command starts: a package that is missing is told in one line, with how to get it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

__all__ = ["main"]

# Import name -> name to install, of what the extra brings; nothing of it may be imported here.
_EXTRA = {
    "PIL": "pillow",
    "alembic": "alembic",
    "matplotlib": "matplotlib",
    "mlflow": "mlflow",
    "optuna": "optuna",
    "rich": "rich",
    "sqlalchemy": "sqlalchemy",
}
_OTHERS = {
    "keras": 'pip install "kerasloss[search,jax]"',
    "numpy": 'pip install "kerasloss[search,jax]"',
    "scipy": 'pip install "kerasloss[search,metrics]"',
}


def main() -> int:
    """Runs the command; returns its exit code, 2 where a package is missing."""
    try:
        from kerasloss_search import cli

        return cli.main()
    except ImportError as problem:
        line = _remedy(problem)
        if line is None:
            raise
        print(f"kerasloss-search: {line}", file=sys.stderr)
        return 2


def _remedy(problem: ImportError) -> str | None:
    """What is missing and how to install it; None where it is no package that is missing."""
    for cause in _causes(problem):
        if not isinstance(cause, ModuleNotFoundError) or not cause.name:
            continue
        package = cause.name.partition(".")[0]
        if package in _EXTRA:
            name = _EXTRA[package]
            return f'the search needs the package {name}: pip install "kerasloss[search,jax]"'
        if package in _OTHERS:
            return f"the search needs the package {package}: {_OTHERS[package]}"
        if package not in ("kerasloss", "kerasloss_search"):
            # Of a package that something else needs, only the name to import is known.
            return f"the Python module {package} is missing; install the package that has it"
    return None


def _causes(problem: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = problem
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__
