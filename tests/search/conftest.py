"""An empty MLflow database and a server that is away."""

import shutil
import socket
import warnings

import pytest
from kerasloss_search.tracking import store_uri


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """An empty MLflow database: making one takes seconds, copying it does not."""
    folder = tmp_path_factory.mktemp("template")
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        MlflowClient(store_uri(folder))
    return folder / "mlflow.db"


@pytest.fixture
def folder(template, tmp_path):
    folder = tmp_path / "my search"
    folder.mkdir()
    shutil.copy(template, folder)
    return folder


@pytest.fixture
def dead_uri():
    """A server that is away: nothing listens on this port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
