"""Doctor: tell whether the service would start on this machine, with these packages and settings.

It has to work where the rest does not: nothing at the top of this file needs ONNX Runtime, OpenCV
or a valid setting, and a check that fails is a finding that does not prevent the others.
"""

import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from photo2cartoon.ground.config_file import ConfigFileError
from photo2cartoon.ground.machine import (
    MIB,
    available_cores,
    memory_limit,
    total_memory,
    who_listens,
)
from photo2cartoon.ground.origins import DEFAULT, describe_settings, explain
from photo2cartoon.ground.settings import PREFIX, Settings, unknown_variables, variable
from photo2cartoon.runtime.checks import (
    Finding,
    StartRefused,
    available_providers,
    choose_provider,
    driver_version,
    find_problems,
    installed_runtimes,
)
from photo2cartoon.runtime.signature import signature_check
from photo2cartoon_models.manifest import (
    ManifestError,
    Model,
    find_generator,
    load_manifest,
    load_model,
)

PACKAGES = ("opencv-python-headless", "numpy", "pillow", "pi-heif", "fastapi", "pydantic")
MODULES = ("numpy", "cv2", "PIL", "pi_heif", "onnxruntime")  # a library of theirs may be missing
REINSTALL = "install photo2cartoon again, with its extra cpu or gpu"
OPENCVS = ("opencv-python-headless", "opencv-python", "opencv-contrib-python")
OLDEST_PYTHON = (3, 11)
# The most that a photo takes while it is decoded, and what the process takes (docs/scaling.md).
BYTES_PER_PIXEL, PROCESS_BYTES = 10, 320 * MIB


@dataclass(slots=True)
class Report:
    """What was examined, and what is wrong.

    Attributes:
        settings: the environment's, or the defaults if those are not valid.
        rows: each thing and its state.
        findings: one for each thing that is wrong; without any, the service would start.
    """

    settings: Settings
    rows: list[tuple[str, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def add(self, what: str, state: object) -> None:
        self.rows.append((what, str(state)))

    def wrong(self, what: str, remedy: str) -> None:
        finding = Finding(what, remedy)
        if finding not in self.findings:
            self.findings.append(finding)


def examine() -> Report:
    """Make every check."""
    report = Report(Settings.model_construct())
    for check in CHECKS:
        try:
            check(report)
        except ImportError as error:
            report.wrong(str(error), REINSTALL)
        except Exception as error:  # noqa: BLE001 - the next check must still be made
            name = check.__name__.removeprefix("_check_")
            report.wrong(f"{name}: {type(error).__name__}: {error}", "mend that, and ask again")
    return report


def main() -> int:
    """Examine and show; returns the exit code: 0 nothing is wrong, 1 something is."""
    report = examine()
    show(report, Console(highlight=False))
    return int(bool(report.findings))


def show(report: Report, console: Console) -> None:
    """Print the report on one screen."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for what, state in report.rows:
        table.add_row(Text(what, style="bold"), Text(state))
    console.print(table)
    if not report.findings:
        console.print("\nNothing is wrong.", style="green")
        return
    console.print(f"\n{len(report.findings)} wrong:", style="red")
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    for finding in report.findings:
        table.add_row("-", Text(finding.what))
        table.add_row("", Text(f"-> {finding.remedy}", style="bold"))
    console.print(table)


def _check_settings(report: Report) -> None:
    try:
        report.settings = Settings()
    except (ValidationError, ConfigFileError) as error:
        for line in explain(error):
            report.wrong(line, "mend or unset it (the rest is looked at with the defaults)")
        report.add("settings", "wrong: see below")
        return
    given = [
        f"{stated.source}={stated.text}"
        if stated.source.upper() == variable(stated.name)
        else f"{stated.source}: {stated.name}={stated.text}"
        for stated in describe_settings(report.settings)
        if stated.source != DEFAULT
    ]
    report.add("settings", ", ".join(given) or "all defaults")
    if names := unknown_variables():
        report.add("not settings", f"{', '.join(names)}: ignored")


def _check_versions(report: Report) -> None:
    names = (*PACKAGES, "insightface", "openvino")
    found = {name: number for name in names if (number := _version(name))}
    found |= installed_runtimes()
    report.add("python", f"{platform.python_version()}, {platform.machine()}")
    report.add("packages", ", ".join(f"{name} {number}" for name, number in found.items()))
    if sys.version_info < OLDEST_PYTHON:
        report.wrong(f"Python {platform.python_version()} is too old", "install 3.11 or newer")
    for module in MODULES:
        try:
            import_module(module)
        except ImportError as error:
            report.wrong(str(error), REINSTALL)
    opencvs = [name for name in OPENCVS if _version(name)]
    if len(opencvs) > 1:
        report.wrong(
            f"{' and '.join(opencvs)} are both installed and overwrite each other's files",
            f"pip uninstall -y {' '.join(opencvs)}, then install opencv-python-headless again; "
            "insightface is to be installed with --no-deps (docs/insightface.md)",
        )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _check_runtime(report: Report) -> None:
    settings = report.settings
    report.add("driver", f"NVIDIA {driver}" if (driver := driver_version()) else "none of NVIDIA's")
    report.findings += find_problems(settings.provider, settings.device_id)
    report.add("providers", ", ".join(available_providers()))
    try:
        provider, why = choose_provider(settings.provider, settings.device_id)
    except StartRefused:  # found above
        report.add("would use", f"none: {settings.provider} cannot work")
        return
    report.add("would use", f"{provider} ({why})")


def _check_machine(report: Report) -> None:
    cores, all_cores, limit = available_cores(), os.cpu_count(), memory_limit()
    lanes = report.settings.threads or cores
    report.add("cores", f"{cores} of {all_cores} for this process; {lanes} photos at a time")
    worst = PROCESS_BYTES + report.settings.max_buffered_bytes
    worst += lanes * BYTES_PER_PIXEL * report.settings.max_pixels
    state = f"{limit // MIB} MiB, the container's limit" if limit else "no limit of a container"
    report.add(
        "memory",
        f"{state}; {total_memory() // MIB} MiB in the machine; "
        f"{worst // MIB} MiB with the largest photos",
    )
    if limit and limit < worst:
        report.wrong(
            f"the largest photos take {worst // MIB} MiB of the container's {limit // MIB} MiB",
            "raise the limit, or lower P2C_THREADS, P2C_MAX_PIXELS or P2C_MAX_BUFFERED_BYTES",
        )
    if lanes > 2 * cores:
        report.wrong(
            f"P2C_THREADS={lanes} on {cores} cores: they would only wait for each other",
            "unset it",
        )


def _check_models(report: Report) -> None:
    settings = report.settings
    try:
        check = signature_check(settings.manifest_key)
        manifest = load_manifest(check=check)
    except StartRefused as refused:
        report.findings.append(refused.finding)
        return
    except ManifestError as error:
        remedy = "photo2cartoon models sign, or unset P2C_MANIFEST_KEY" if check else REINSTALL
        report.wrong(str(error), remedy)
        return
    if check:
        report.add("manifest", "signed by P2C_MANIFEST_KEY")
    for model in manifest.values():
        used = _is_used(model, settings)
        try:
            model.read_verified()
        except Exception as error:  # noqa: BLE001 - each file for itself
            report.add(model.name, f"{model.sha256[:12]} is expected, and not there")
            report.wrong(str(error), "install photo2cartoon again")
            continue
        report.add(model.name, f"{model.sha256[:12]} verified{'' if used else ', not used'}")
    generators = [model for model in manifest.values() if model.role == "generator"]
    if not any(_is_used(model, settings) for model in generators):
        _add_own(report, "P2C_GENERATOR", lambda path: find_generator(manifest, path, check))
    if settings.matte_model:
        _add_own(report, "P2C_MATTE_MODEL", lambda path: load_model(path, check))


def _is_used(model: Model, settings: Settings) -> bool:
    replaced = {
        "generator": model.name != str(settings.generator),
        "matte": settings.matte_model is not None,
        "detector": settings.detector != "embedded",
    }
    return not replaced.get(model.role, False)


def _add_own(report: Report, setting: str, read: Callable[[Path], Model]) -> None:
    path: Path = getattr(report.settings, setting.removeprefix(PREFIX).lower())
    try:
        model = read(path)
    except Exception as error:  # noqa: BLE001 - whatever it is, the file is not usable
        report.wrong(str(error), f"give {setting} a file that is there, or unset it")
        return
    report.add(setting, f"{model.sha256[:12]} {path}: yours, the manifest does not know it")


def _check_detector(report: Report) -> None:
    if report.settings.detector == "embedded" or report.settings.insightface_pack is None:
        report.add("detector", report.settings.detector)
        return
    from photo2cartoon.pipeline.faces.pack import PackError, read_pack  # noqa: PLC0415 - needs what may be missing

    try:
        pack = read_pack(report.settings.insightface_pack)
    except PackError as error:
        report.wrong(
            str(error), "docs/insightface.md says what a pack holds; or unset P2C_DETECTOR"
        )
        return
    report.add("detector", f"insightface, {pack.folder}: its licence is yours to keep")
    for name, digest in pack.digests.items():
        report.add(name, f"{digest[:12]} of the pack, the manifest does not know it")
    if pack.landmarks is None:
        report.add("landmarks", "none in the pack: the embedded mesh")
    if side := pack.detector.inputs[0].image_size:
        report.wrong(
            f"{pack.detector.path.name} takes {side} px only, and misses close-ups",
            "take a detector whose input size is free",
        )


def _check_port(report: Report) -> None:
    host, port = report.settings.host, report.settings.port
    if port == 0:
        report.add("port", "any that is free")
        return
    listener = who_listens(host, port)
    report.add("port", f"{host}:{port} {listener or 'is free'}")
    if listener and listener != "is this service's":
        report.wrong(f"{host}:{port} {listener}", "stop what listens there, or set P2C_PORT")


def _check_start(report: Report) -> None:
    """The proof: load everything as the service would. Only where nothing is wrong so far."""
    if report.findings:
        report.add("start", "not tried: see below")
        return
    from photo2cartoon.pipeline.opening import open_pipeline  # noqa: PLC0415 - needs what may be missing

    since = time.perf_counter()
    pipeline = open_pipeline(report.settings)
    seconds = time.perf_counter() - since
    pipeline.close()
    report.add("runs on", pipeline.device.describe())
    report.add(
        "start",
        f"{len(pipeline.networks)} networks load, and answer the self test ({seconds:.1f} s)",
    )


CHECKS: tuple[Callable[[Report], None], ...] = (
    _check_settings,
    _check_versions,
    _check_runtime,
    _check_machine,
    _check_models,
    _check_detector,
    _check_port,
    _check_start,
)
