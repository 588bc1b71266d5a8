"""The worker process on the desktop: Qt reads it while Slicer's event loop runs, so that Slicer stays usable."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import qt

from CrossModalSegApp.process.process_tree import kill_process_tree

_MILLISECONDS_TO_DIE = 3000


class QtWorkerProcess:
    """A `child_process.WorkerProcess` on QProcess. To be used from the thread of the application object."""

    def __init__(self) -> None:
        self.on_output: Callable[[bytes], None] | None = None
        self.on_error_output: Callable[[bytes], None] | None = None
        self.on_finished: Callable[[int | None], None] | None = None
        self._process: Any = None  # QProcess, until it is over
        self._could_not_start = False

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.state() != qt.QProcess.NotRunning

    def start(self, program: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        # With a parent, it is not Python that deletes it, which might happen while it is still emitting a signal.
        process = qt.QProcess(qt.QCoreApplication.instance())
        variables = qt.QProcessEnvironment.systemEnvironment()
        for name, value in environment.items():
            variables.insert(name, value)
        process.setProcessEnvironment(variables)
        process.readyReadStandardOutput.connect(self._read_output)
        process.readyReadStandardError.connect(self._read_error_output)
        process.errorOccurred.connect(self._note_error)
        process.finished.connect(self._finish)
        self._process = process
        process.start(program, list(arguments))

    def write(self, data: bytes) -> None:
        if self.is_running:
            self._process.write(data)

    def close_stdin(self) -> None:
        if self.is_running:
            self._process.closeWriteChannel()

    def kill_tree(self, worker_pid: int | None = None) -> None:
        process = self._release()
        if process is None:
            return
        kill_process_tree(*filter(None, [worker_pid]))
        if process.state() != qt.QProcess.NotRunning:
            kill_process_tree(process.processId())
            process.waitForFinished(_MILLISECONDS_TO_DIE)

    def wait(self, seconds: float) -> None:
        if self._could_not_start:
            self._tell_not_started()
        elif self._process is not None:
            self._process.waitForReadyRead(round(1000 * seconds))

    def join(self, seconds: float) -> None:
        if self._process is not None:
            self._process.waitForFinished(round(1000 * seconds))

    def _read_output(self, *_: Any) -> None:
        self._read("readAllStandardOutput", self.on_output)

    def _read_error_output(self, *_: Any) -> None:
        self._read("readAllStandardError", self.on_error_output)

    def _read(self, method: str, callback: Callable[[bytes], None] | None) -> None:
        if self._process is not None and callback is not None:
            data = bytes(getattr(self._process, method)().data())
            if data:
                callback(data)

    def _note_error(self, *_: Any) -> None:
        if self._process is not None and self._process.error() == qt.QProcess.FailedToStart:
            self._could_not_start = True
            qt.QTimer.singleShot(0, self._tell_not_started)  # not from within start()

    def _tell_not_started(self) -> None:
        process = self._release()
        if process is not None and self.on_error_output is not None and self.on_finished is not None:
            self.on_error_output(f"{process.errorString()}\n".encode())
            self.on_finished(None)

    def _finish(self, *_: Any) -> None:
        self._read_error_output()
        self._read_output()  # whose listener may end it all
        process = self._release()
        if process is not None and self.on_finished is not None:
            has_crashed = process.exitStatus() == qt.QProcess.CrashExit
            self.on_finished(-abs(process.exitCode()) if has_crashed else process.exitCode())

    def _release(self) -> Any:
        """The QProcess, which tells nobody anything any more and is deleted when the event loop comes to it."""
        process, self._process = self._process, None
        if process is not None:
            process.blockSignals(True)
            process.deleteLater()
        return process
