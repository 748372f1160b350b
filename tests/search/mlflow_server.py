"""A real MLflow server in a thread, that can go away, come back, and be slow."""

import socket
import threading
import time
from contextlib import contextmanager

import pytest
from kerasloss_search.tracking import store_uri


class Server:
    """The server of the database in `folder`, on a port that stays the same.

    Attributes:
        delay_s: How long it waits before it does anything.
        asked: Number of requests so far.
    """

    def __init__(self, folder):
        self._folder = folder
        self._thread = None
        self.delay_s = 0.0
        self.asked = 0
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self):
        from mlflow.server import app
        from werkzeug.serving import make_server

        def slow(environment, respond):
            self.asked += 1
            time.sleep(self.delay_s)
            return app.wsgi_app(environment, respond)

        self._server = make_server("127.0.0.1", self.port, slow, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self):
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join(20)
            self._server.server_close()
            self._thread = None


@contextmanager
def serving(folder):
    """A server that has not been started, for the database in `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_MLFLOW_SERVER_FILE_STORE", store_uri(folder))
        patch.setenv("_MLFLOW_SERVER_REGISTRY_STORE", store_uri(folder))
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", (folder / "mlartifacts").as_uri())
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow.server.handlers as handlers

        patch.setattr(handlers, "_tracking_store", None)
        server = Server(folder)
        try:
            yield server
        finally:
            server.stop()
