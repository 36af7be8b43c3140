"""Opening: from the settings to a loaded pipeline. The one file that knows every part."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2

from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.cropper import Cropper
from photo2cartoon.pipeline.drawer import Drawer, FusedDrawer, StagedDrawer
from photo2cartoon.pipeline.faces.blazeface import BlazeFaceCascade
from photo2cartoon.pipeline.faces.detector import FaceDetector
from photo2cartoon.pipeline.faces.pack import read_pack
from photo2cartoon.pipeline.faces.scrfd import Landmarks106, ScrfdFinder
from photo2cartoon.pipeline.fuse import NotFusable, fuse
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon.pipeline.styles import Styles
from photo2cartoon.runtime.batcher import Batcher
from photo2cartoon.runtime.binding import BoundNetwork, DeviceLost
from photo2cartoon.runtime.checks import Finding, StartRefused
from photo2cartoon.runtime.device import CPU, Device
from photo2cartoon.runtime.network import Network, OnnxNetwork, open_network
from photo2cartoon.runtime.signature import signature_check
from photo2cartoon_models.manifest import (
    Check,
    ManifestError,
    Model,
    find_generator,
    load_manifest,
    load_model,
)
from photo2cartoon_models.preprocess import summarise

log = logging.getLogger("photo2cartoon.pipeline.opening")

GPU_BATCH = 16  # largest batch on a GPU, where the settings leave it open


def open_pipeline(settings: Settings) -> Pipeline:
    """Load, verify and warm up the models.

    Raises:
        ManifestError: a model is missing, changed, not signed where it has to be, or does not work.
        StartRefused: what the settings ask for does not run here.
    """
    cv2.setNumThreads(1)  # requests run side by side; OpenCV's own threads would compete
    device = Device.choose(settings)
    while True:
        fields = {"provider": device.provider, "precision": device.precision, "why": device.why}
        log.info("device", extra={"fields": fields})
        try:
            return open_on(device, settings)
        except (ManifestError, StartRefused) as error:
            if not (next_best := device.next_best(settings, str(error))):
                raise
            device = next_best


def open_on(device: Device, settings: Settings) -> Pipeline:
    """Load, verify and warm up the models on `device`.

    Raises:
        ManifestError, StartRefused: as `open_pipeline`.
    """
    check = signature_check(settings.manifest_key)
    manifest = load_manifest(check=check)
    matte = find_matte(settings, manifest, check)
    models = find_styles(manifest, (settings.generator, *settings.styles), check)
    cropper = Cropper(
        open_detector(settings, manifest, device),
        open_styles(settings, matte, models, device),
        max_pixels=settings.max_pixels,
        min_face_px=settings.min_face_px,
    )
    pipeline = Pipeline(cropper, device)
    try:
        pipeline.warm_up()
    except (Exception, DeviceLost) as error:
        pipeline.close()
        if not device.on_gpu or isinstance(error, ManifestError | StartRefused):
            raise
        what = f"the first run on {device.execution_provider} failed"
        reason = str(error).strip().partition("\n")[0]
        remedy = "set a smaller P2C_MAX_BATCH to use less memory, or run photo2cartoon doctor"
        raise StartRefused(Finding(f"{what}: {reason}", remedy)) from error
    return pipeline


def open_detector(settings: Settings, manifest: dict[str, Model], device: Device) -> FaceDetector:
    """Load the face detector: the embedded cascade or InsightFace's, verified by the same mesh.

    The embedded networks run on the CPU, wherever the drawer runs: they are small (12 ms per photo
    on one core) and wait for each other, so a GPU would launch many little kernels for one photo at
    a time. SCRFD takes up to 10 GFLOP per photo and runs where the generator runs.

    Raises:
        ManifestError, StartRefused: as `open_pipeline`.
        PackError: InsightFace's pack cannot be used.
    """
    mesh = open_network(manifest["face_mesh"], CPU if device.on_gpu else device)
    if settings.detector == "embedded" or settings.insightface_pack is None:
        networks = (OnnxNetwork(manifest[name]) for name in ("face_short", "face_full"))
        return FaceDetector(BlazeFaceCascade(*networks), mesh)
    pack = read_pack(settings.insightface_pack)
    fields = {"backend": "insightface", "pack": str(pack.folder), "models": pack.digests}
    log.info("detector", extra={"fields": fields})
    device = without_fixed_shapes(device) if device.on_gpu else CPU  # sessions of ONNX Runtime
    landmarks = Landmarks106(pack.landmarks, device) if pack.landmarks else None
    return FaceDetector(ScrfdFinder(pack.detector, device), mesh, landmarks)


def without_fixed_shapes(device: Device) -> Device:
    """Return `device` for a network whose sizes are free: engines and CUDA graphs fix them."""
    return replace(device, provider="cuda", cuda_graphs=False) if device.on_gpu else device


def open_styles(
    settings: Settings, matte: Model, generators: Iterable[Model], device: Device
) -> Styles:
    """Load the styles: in stages on a CPU, as one graph on a GPU if the networks can be joined.

    Raises:
        ManifestError, StartRefused: as `open_pipeline`.
    """
    largest = settings.max_batch or (GPU_BATCH if device.on_gpu else 1)

    any_size = without_fixed_shapes(device)

    def shared(network: Network) -> Network:
        if largest == 1 and not device.on_gpu:
            return network
        return Batcher(network, largest, settings.max_batch_wait_ms / 1000)

    @cache
    def matte_network() -> Network:
        return shared(open_network(matte, device, largest))

    def open_drawer(generator: Model) -> Drawer:
        if device.on_gpu:
            try:
                fused = open_fused(matte, generator, device, largest)
                return FusedDrawer(shared(fused), generator)
            except NotFusable as reason:
                fields = {"style": generator.name, "why": str(reason)}
                log.warning("in stages", extra={"fields": fields})
        where = any_size if generator.takes_any_size else device
        return StagedDrawer(matte_network(), shared(open_network(generator, where, largest)))

    return Styles({model.name: open_drawer(model) for model in generators})


def find_matte(settings: Settings, manifest: dict[str, Model], check: Check | None = None) -> Model:
    """Return the entry of the matte network: the operator's, or the one that comes along.

    Raises:
        ManifestError: the operator's entry is malformed, or is not signed and `check` refuses it.
    """
    own = settings.matte_model
    return load_model(own, check) if own else manifest["selfie"]


def find_styles(
    manifest: dict[str, Model], asked: Iterable[Path], check: Check | None = None
) -> list[Model]:
    """Return the entries of generators, each once: names of the manifest, files, or folders.

    A folder stands for the ONNX files in it, by name. A name of the manifest wins over a folder
    that is called the same, which needs its whole path.

    Raises:
        ManifestError: one of them is not a generator, a folder has none, two files have the same
            name, or one is not signed and `check` refuses it.
    """
    models: dict[str, Model] = {}
    for name in asked:
        is_folder = str(name) not in manifest and name.is_dir()
        files = sorted(name.glob("*.onnx")) if is_folder else [name]
        if not files:
            raise ManifestError(f"{name}: a folder without an ONNX file")
        for model in (find_generator(manifest, file, check) for file in files):
            if models.setdefault(model.name, model).sha256 != model.sha256:
                raise ManifestError(f"two styles are called {model.name}: {name} is the second")
    return list(models.values())


def open_fused(matte: Model, generator: Model, device: Device, largest: int) -> BoundNetwork:
    """Load both networks as one graph, which must answer its self test as it does on the CPU.

    Raises:
        NotFusable: the networks cannot be joined.
        ManifestError, StartRefused: as `open_pipeline`.
    """
    model, content = fuse(matte, generator)
    reference = BoundNetwork(model, CPU, content, 1)
    *pictures, _ = map(summarise, reference.run(reference.probe()))
    golden = (*map(tuple, pictures), None)
    return BoundNetwork(replace(model, golden=golden), device, content, largest)
