"""Carries out the requests that the worker process gets (see ``protocol``); the model stays loaded between them."""

import hashlib
import importlib
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CrossModalSegLib.errors import (
    CrossModalSegError,
    GpuFaultError,
    InstallError,
    ProtocolError,
    internal_error,
    typed_error,
)
from CrossModalSegLib.progress import RunProgress, Throttle
from CrossModalSegLib.protocol import Done, Event, Failed, Request, encode
from CrossModalSegLib.stage_seconds import TYPICAL_MEGAVOXELS, Forecast, StagePaces, expected_seconds

if TYPE_CHECKING:
    from CrossModalSegLib.imaging.content_findings import Contents
    from CrossModalSegLib.imaging.volume import Volume
    from CrossModalSegLib.inference.inference import Segmenter

DEVICES = ("auto", "cpu", "cuda")
SECONDS_BETWEEN_EVENTS = 0.1
SHOWN_BY = 0.05  # of the longest stage: the time left is told from then on, where nothing was measured yet
# After these the process is of no use any more: a new one finds the packages, or a GPU that works again.
FATAL = (InstallError, GpuFaultError)

_LOADING = "loading model"
_COLD_LOADING, _WARM_LOADING = 6.0, 0.2
_REGISTERING = {"reading": 0.5, "registration": 2.0}
_LOOKING = {"reading": 0.5, _LOADING: _COLD_LOADING, "registration": 2.0}

Report = Callable[[str, float], None]  # stage, fraction of it


class RequestHandler:
    """Carries out requests, one at a time, and tells ``send`` about each: progress, then one `Done` or `Failed`.

    ``output`` is the folder that results are being written to just now, or None. ``paces``: what is known of how fast
    this computer is, that of the user unless given.
    """

    def __init__(
        self,
        send: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
        paces: StagePaces | None = None,
    ):
        self.output: Path | None = None
        self._send = send
        self._clock = clock
        self._segmenter: Segmenter | None = None
        self._looks = _Looks()
        self._paces = paces or StagePaces()

    def answer(self, request: Request) -> bool:
        """Carry out ``request``; whatever goes wrong becomes its `Failed`. False: this process should not go on."""
        try:
            answer = Done(request.id, self._carry_out(request))
            encode(answer)  # here, where its fault is still this request's
        except Exception as error:  # noqa: BLE001 - the module waits for an answer; the traceback goes to stderr
            told = explain(error)
            self._send(Failed(request.id, told.code, told.message, told.hint))
            return not isinstance(told, FATAL)
        self._send(answer)
        return True

    def _carry_out(self, request: Request) -> dict[str, Any]:
        actions = {
            "segment": self._segment,
            "look": self._look,
            "register": self._register,
            "export": self._export,
            "ping": self._ping,
        }
        if request.action not in actions:
            raise _bad_request(f"action {request.action!r}", f"use one of {', '.join(actions)}")
        return actions[request.action](request)

    def _ping(self, request: Request) -> dict[str, Any]:
        _only(request.arguments)
        return {}

    def _register(self, request: Request) -> dict[str, Any]:
        _only(request.arguments, "fixed", "moving")
        paths = [Path(_text(request.arguments, name)) for name in ("fixed", "moving")]
        from CrossModalSegLib.imaging.registration import rigid_refine
        from CrossModalSegLib.imaging.volume import read_volume

        report = self._reporter(request.id, RunProgress(_REGISTERING, clock=self._clock))
        report("reading", 0.0)
        fixed, moving = (read_volume(path, path.stem) for path in paths)
        return rigid_refine(fixed, moving, report).to_json()

    def _export(self, request: Request) -> dict[str, Any]:
        _only(request.arguments, "bundle", "scans", "output", "structure_set")
        bundle, output = _text(request.arguments, "bundle"), Path(_text(request.arguments, "output"))
        structure_set = _switch(request.arguments, "structure_set")
        importlib.invalidate_caches()  # packages may have been installed since this process started
        from CrossModalSegLib.bundles.bundle import load_bundle
        from CrossModalSegLib.pacs.label_export import ShownScan, export_labels

        try:
            shown = {name: ShownScan.from_json(entry) for name, entry in dict(request.arguments["scans"]).items()}
        except (KeyError, TypeError, ValueError) as error:
            raise _bad_request(f"scans: {type(error).__name__}: {error}", "give them as `ShownScan.to_json`") from error
        self.output = output
        try:
            export_labels(load_bundle(bundle), shown, output, with_structure_set=structure_set)
        finally:
            self.output = None
        return {"output": str(output)}

    def _look(self, request: Request) -> dict[str, Any]:
        """What the scans show; without the packages of the network, how far they are apart."""
        _only(request.arguments, "bundle", "inputs")
        bundle, inputs = _text(request.arguments, "bundle"), _inputs(request.arguments)
        from CrossModalSegLib.imaging.content_findings import Contents, displacement
        from CrossModalSegLib.imaging.volume import read_volume

        report = self._reporter(request.id, RunProgress(_LOOKING, clock=self._clock))
        report("reading", 0.0)
        volumes = {name: read_volume(path, name) for name, path in inputs.items()}
        try:
            self._segmenter = self._load(bundle, str(self._segmenter.device) if self._segmenter else "auto", report)
        except ImportError:
            scans = list(volumes.values())
            return (displacement(scans[0], scans[1], report) if len(scans) == 2 else Contents()).to_json()
        return self._looks.look(self._segmenter, volumes, report).to_json()

    def _segment(self, request: Request) -> dict[str, Any]:
        _only(request.arguments, "bundle", "inputs", "output", "device", "format", "seg_type", "structure_set")
        bundle, device = _text(request.arguments, "bundle"), _device(request.arguments)
        inputs, output = _inputs(request.arguments), Path(_text(request.arguments, "output"))
        loading = _COLD_LOADING if self._segmenter is None else _WARM_LOADING
        expected = expected_seconds("cpu", TYPICAL_MEGAVOXELS)
        progress = RunProgress({_LOADING: loading, **expected}, shown_by=SHOWN_BY, clock=self._clock)
        report = self._reporter(request.id, progress)
        self._segmenter = segmenter = self._load(bundle, device, report)
        forecast = Forecast(progress, self._paces, segmenter.bundle.sha256, segmenter.device.type)

        def look(segmenter: "Segmenter", volumes: "Mapping[str, Volume]", report: Report) -> "Contents":
            forecast.has_scans(sum(volume.array.size for volume in volumes.values()))
            return self._looks.look(segmenter, volumes, report)

        given = {"format", "seg_type"} & set(request.arguments)
        options = {name: _text(request.arguments, name) for name in given}
        switches = {"structure_set": _switch(request.arguments, "structure_set")}
        result = self._write_case(segmenter, inputs, output, report, {**options, **switches, "look": look})
        if result["device"] == str(segmenter.device):  # not after a fallback
            forecast.learn(*([] if self._looks.was_new else ["checking"]))
        return result | {"output": str(output)}

    def _write_case(
        self,
        segmenter: "Segmenter",
        inputs: Mapping[str, Path],
        output: Path,
        report: Report,
        options_given: Mapping[str, Any],
    ) -> dict[str, Any]:
        from CrossModalSegLib.inference.case_output import OutputOptions, segment_case

        options = OutputOptions(overview=False, **options_given)
        self.output = output
        try:
            return segment_case(segmenter, inputs, output, options, report)
        finally:
            self.output = None

    def _load(self, bundle_name: str, device_name: str, report: Report) -> "Segmenter":
        """The network on its device: that of the last request where it is the same."""
        report(_LOADING, 0.0)
        _import_engine()
        report(_LOADING, 0.7)
        from CrossModalSegLib.bundles.bundle import load_bundle
        from CrossModalSegLib.inference.inference import Segmenter, choose_device

        bundle, device = load_bundle(bundle_name), choose_device(device_name)
        warm, self._segmenter = self._segmenter, None
        if warm and (warm.bundle.sha256, warm.bundle.name, warm.device) == (bundle.sha256, bundle.name, device):
            return warm
        del warm  # two networks at once may be too many for the memory
        return Segmenter(bundle, device_name)

    def _reporter(self, request_id: str, progress: RunProgress) -> Report:
        throttle = Throttle(SECONDS_BETWEEN_EVENTS, self._clock)

        def report(stage: str, fraction: float) -> None:
            if stage != "done" and throttle.lets_through(stage):  # Done says that
                self._send(replace(progress.update(stage, fraction), id=request_id))

        return report


def explain(error: Exception) -> CrossModalSegError:
    """What is told about ``error``; unless it was typed where it arose, its traceback goes to stderr as well."""
    if not isinstance(error, CrossModalSegError):
        traceback.print_exception(error)
    return typed_error(error) or internal_error(error)


class _Looks:
    """Looks into scans, and remembers the last ones: what the panel has asked for is not found out again for the
    run."""

    def __init__(self) -> None:
        self._seen: str = ""
        self._found: Contents | None = None
        self.was_new = False

    def look(self, segmenter: "Segmenter", volumes: "Mapping[str, Volume]", report: Report) -> "Contents":
        from CrossModalSegLib.inference.contents import look_into

        seen = _fingerprint(segmenter.bundle.sha256, volumes)
        self.was_new = self._found is None or seen != self._seen
        if self._found is None or self.was_new:
            self._seen, self._found = seen, look_into(segmenter, volumes, report)
        return self._found


def _fingerprint(bundle: str, volumes: "Mapping[str, Volume]") -> str:
    """Changes with the model, and with any voxel, place or name of the scans."""
    digest = hashlib.sha256(bundle.encode())
    for name, volume in sorted(volumes.items()):
        digest.update(f"{name} {volume.grid.shape_kji}".encode())
        digest.update(volume.grid.ijk_to_ras.tobytes())
        digest.update(volume.array.tobytes())
    return digest.hexdigest()


def _import_engine() -> None:
    """Load torch and all that a segmentation needs. Raises ImportError that names the package."""
    importlib.invalidate_caches()  # packages may have been installed since this process started
    try:
        importlib.import_module("CrossModalSegLib.inference.case_output")
    except OSError as error:  # torch is there, but a library that it brings cannot be loaded
        raise ImportError(str(error), name="torch") from error


def _only(arguments: Mapping[str, Any], *names: str) -> None:
    if unknown := set(arguments) - set(names):
        raise _bad_request(f"arguments {', '.join(sorted(unknown))}", f"this action has {', '.join(names) or 'none'}")


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise _bad_request(f"{name} is {value!r}", f"give {name} as text")
    return value


def _switch(arguments: Mapping[str, Any], name: str) -> bool:
    value = arguments.get(name, False)
    if not isinstance(value, bool):
        raise _bad_request(f"{name} is {value!r}", "give true or false")
    return value


def _inputs(arguments: Mapping[str, Any]) -> dict[str, Path]:
    inputs = arguments.get("inputs")
    if not isinstance(inputs, dict) or not inputs:
        raise _bad_request(f"inputs is {inputs!r}", "give a path per modality")
    return {name: Path(_text(inputs, name)) for name in inputs}


def _device(arguments: Mapping[str, Any]) -> str:
    device = arguments.get("device", "auto")
    if device not in DEVICES:
        raise _bad_request(f"device is {device!r}", f"use one of {', '.join(DEVICES)}")
    return str(device)


def _bad_request(what: str, hint: str) -> ProtocolError:
    return ProtocolError("bad-request", what, hint)
