"""How other processes are started: without the current folder, and undisturbed by Ctrl-C."""

import os
import signal
import threading
import time

import pytest
from kerasloss_search.spawning import safe_path, undisturbed


def test_the_environment_is_as_it_was(monkeypatch):
    for value in (None, "", "0"):
        if value is None:
            monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
        else:
            monkeypatch.setenv("PYTHONSAFEPATH", value)
        with pytest.raises(KeyError), safe_path():
            assert os.environ["PYTHONSAFEPATH"] == "1"
            raise KeyError
        assert os.environ.get("PYTHONSAFEPATH") == value


def blocked():
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_ctrl_c_comes_later():
    """Where another thread takes the signal, too, as that of the tracking does."""
    threading.Thread(target=time.sleep, args=(1,), daemon=True).start()
    handler = signal.getsignal(signal.SIGINT)
    reached = False
    with pytest.raises(KeyboardInterrupt), undisturbed():
        assert blocked()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        reached = True
    assert reached
    assert signal.getsignal(signal.SIGINT) is handler and not blocked()


def test_what_has_no_handler_keeps_its_effect():
    """A SIGTERM that ends the program must end it here, too."""
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with undisturbed():
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with pytest.raises(ValueError), undisturbed():
        raise ValueError
    assert not blocked()


def test_in_another_thread():
    found = []

    def work():
        with undisturbed():
            found.append(blocked())
        found.append(blocked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True, False]
