"""Where MLflow may keep its record, as URIs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from kerasloss_search.outbox import without_password

__all__ = ["DATABASES", "artifact_uri", "checked_uri", "quoted", "store_uri"]

DATABASES = frozenset({"sqlite", "postgresql", "mysql", "mssql"})


def store_uri(folder: Path) -> str:
    """Return the URI of the MLflow database that a search keeps in `folder`."""
    return f"sqlite:///{quoted(folder.resolve() / 'mlflow.db')}"


def artifact_uri(folder: Path) -> str:
    """Return the URI of the folder where that database's artifacts lie."""
    return (folder.resolve() / "mlartifacts").as_uri()


def checked_uri(uri: str) -> str:
    """Return `uri` with an absolute path if MLflow can write to it, else raise ValueError."""
    scheme, _, rest = uri.partition("://")
    kind = scheme.split("+")[0].lower()
    if uri == "databricks" or (kind == "databricks" and rest):
        return uri
    if kind == "sqlite" and rest.startswith("/") and rest not in {"/", "/:memory:"}:
        path = rest[1:]
        return uri if Path(path).is_absolute() else f"{scheme}:///{quoted(Path.cwd())}/{path}"
    if kind in {"http", "https", *DATABASES} - {"sqlite"} and urlsplit(uri).hostname:
        return uri
    raise ValueError(
        "The tracking URI must be sqlite:///<file>, http(s)://<server>, databricks, "
        "databricks://<profile>, or a postgresql://, mysql:// or mssql:// database. A plain "
        f"folder or a file:// store is not possible: MLflow 3 writes to none. Received: "
        f"{without_password(uri)!r}."
    )


def quoted(path: Path) -> str:
    """Write a path so that SQLAlchemy reads it back: it takes %xx and what follows ? apart."""
    return path.as_posix().replace("%", "%25").replace("?", "%3F")
