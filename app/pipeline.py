"""The pipeline: a photo in, cartoons out, as a list of stages in the order they happen."""

import logging
import math
from contextlib import suppress
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.alignment import Alignment, Crop, crop_face, estimate_alignment
from app.batcher import Batcher
from app.blazeface import BlazeFaceCascade
from app.decode import decode_image, read_long_side
from app.encode import encode_image
from app.errors import FaceTooSmall, UnusableOutput
from app.face import Face, FaceDetector, select_faces
from app.matte import predict_matte
from app.onnx import Network, OnnxNetwork
from app.options import Options
from app.pack import read_pack
from app.scene import lay_back
from app.scrfd import Landmarks106, ScrfdFinder
from app.settings import Settings
from app.ticket import Ticket
from models.manifest import Model, describe_generator, load_manifest, load_model
from models.preprocess import composite, to_image, to_tensor

log = logging.getLogger("app.pipeline")

GENERATOR = "photo2cartoon-starter-lite"
DETECTION_LONG_SIDE = 1280  # px; the detectors shrink the photo to 384 anyhow

FLAT = 2 / 127.5  # a drawing spans more than two grey levels

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Portrait:
    """One face of a photo, ready for the generator.

    Attributes:
        tensor: `(3, S, S)` float32, RGB, -1..1: the aligned portrait on white.
        matte: `(S, S)` float32, 0..1.
        crop: the aligned square with its background.
        alignment: where that square lies in the decoded photo.
    """

    tensor: NDArray[np.float32]
    matte: NDArray[np.float32]
    crop: Crop
    alignment: Alignment


class Pipeline:
    """The whole way, on loaded networks. Keeps nothing of a photo; any thread may call it."""

    def __init__(
        self,
        detector: FaceDetector,
        matte: Network,
        generator: Network,
        *,
        max_pixels: int,
        min_face_px: int,
    ) -> None:
        self.detector = detector
        self.matte = matte
        self.generator = generator
        self.max_pixels = max_pixels
        self.min_face_px = min_face_px
        self.size = generator.model.image_size
        self.unusable = 0  # outputs of the generator that were no drawing

    @property
    def networks(self) -> list[Network]:
        """Everything that runs."""
        return [*self.detector.networks, self.matte, self.generator]

    @property
    def batchers(self) -> list[Batcher]:
        """Those networks that run the photos of many lanes as batches."""
        return [network for network in self.networks if isinstance(network, Batcher)]

    @property
    def models(self) -> list[Model]:
        """The manifest entries of what runs."""
        return [network.model for network in self.networks]

    def cartoonize(
        self, photo: bytes, options: Options | None = None, ticket: Ticket | None = None
    ) -> list[bytes]:
        """Turn a photo's bytes into encoded pictures: one a chosen face, one in all for a scene.

        Raises:
            Problem: any of the family in `app.errors` whose cause lies in the photo.
        """
        options, ticket = options or Options(), ticket or Ticket()
        pictures = self.draw(photo, options, ticket)
        with ticket.stage("encode"):
            output_format = options.format or "png"
            return [encode_image(picture, output_format, options.quality) for picture in pictures]

    def draw(self, photo: bytes, options: Options, ticket: Ticket) -> list[Image]:
        """As `cartoonize`, before encoding: `(H, W, 3)` RGB or, where transparent, `(H, W, 4)`."""
        image, portraits = self.prepare(photo, options, ticket)
        with ticket.stage("generate"):
            outputs = [self.generate(portrait.tensor, ticket) for portrait in portraits]
        with ticket.stage("compose"):
            return finish(image, portraits, outputs, options)

    def prepare(
        self, photo: bytes, options: Options, ticket: Ticket
    ) -> tuple[Image, list[Portrait]]:
        """Everything before the generator: the decoded photo and its chosen faces."""
        # A scene answers with the photo, so it is needed in full; else a smaller one will do.
        long_side = None if options.compose == "scene" else DETECTION_LONG_SIDE
        with ticket.stage("decode"):
            image = decode_image(photo, self.max_pixels, long_side)
            ticket.facts["scale"] = _decode_scale(photo, image)
        with ticket.stage("detect"):
            found = self.detector.detect(image, every=options.faces != "largest")
            ticket.facts["faces"] = len(found)
            faces = select_faces(found, options.faces)
        with ticket.stage("decode"):
            image, faces = self._decode_finer(photo, image, faces)
        return image, self._prepare_faces(image, faces, options, ticket)

    def _prepare_faces(
        self, image: Image, faces: list[Face], options: Options, ticket: Ticket
    ) -> list[Portrait]:
        """Prepare each face; of all, those too small are left out: a passer-by costs nobody's."""
        if options.faces != "all":
            return [self.prepare_face(image, face, ticket) for face in faces]
        portraits = []
        for face in faces:
            with suppress(FaceTooSmall):
                portraits.append(self.prepare_face(image, face, ticket))
        if not portraits:
            raise FaceTooSmall
        return portraits

    def prepare_face(self, image: Image, face: Face, ticket: Ticket) -> Portrait:
        """Align, crop and matte one face of `image` `(H, W, 3)` uint8 RGB."""
        with ticket.stage("align"):
            alignment = estimate_alignment(face, (image.shape[1], image.shape[0]), self.min_face_px)
            crop = crop_face(image, alignment, self.size)
        with ticket.stage("matte"):
            matte = predict_matte(self.matte, image, alignment, crop, ticket)
        with ticket.stage("compose"):
            return Portrait(to_tensor(composite(crop.pixels, matte)), matte, crop, alignment)

    def _decode_finer(
        self, photo: bytes, image: Image, faces: list[Face]
    ) -> tuple[Image, list[Face]]:
        """Decode again where a face has fewer pixels than the generator takes and the file more."""
        size = (image.shape[1], image.shape[0])
        side = min(estimate_alignment(face, size).side for face in faces)
        long_side = max(size)
        if side >= self.size or long_side >= read_long_side(photo):
            return image, faces
        finer = decode_image(photo, self.max_pixels, math.ceil(long_side * self.size / side))
        factor = np.array([finer.shape[1], finer.shape[0]]) / size
        return finer, [face.scaled(factor) for face in faces]

    def generate(
        self, tensor: NDArray[np.float32], ticket: Ticket | None = None
    ) -> NDArray[np.float32]:
        """Run the generator on one tensor `(3, S, S)`; the same shape comes back.

        An answer that is not finite, or flat, is asked for once more.

        Raises:
            UnusableOutput: the second one was no better.
        """
        for _ in range(2):
            (outputs,) = self.generator.run(tensor[None], ticket)
            output: NDArray[np.float32] = outputs[0]
            if np.isfinite(output).all() and np.ptp(output) > FLAT:
                return output
            self.unusable += 1
        raise UnusableOutput

    def warm_up(self) -> None:
        """Run every network once.

        Raises:
            ManifestError: one of them does not work.
        """
        for network in self.networks:
            network.warm_up()

    def close(self) -> None:
        """End the batchers' threads."""
        for batcher in self.batchers:
            batcher.close()


def _decode_scale(photo: bytes, image: Image) -> int:
    """1, 2, 4 or 8: of how many pixels of the file's side one was decoded."""
    long_side = max(image.shape[:2])
    if long_side < DETECTION_LONG_SIDE:  # shrunk ones are at least that
        return 1
    return 1 << round(math.log2(read_long_side(photo) / long_side))


def finish(
    image: Image,
    portraits: list[Portrait],
    outputs: list[NDArray[np.float32]],
    options: Options,
) -> list[Image]:
    """Everything after the generator but encoding; `outputs` are its `(3, S, S)`, -1..1."""
    cartoons = [to_image(output) for output in outputs]
    if options.compose == "scene":
        for cartoon, portrait in zip(cartoons, portraits, strict=True):
            image = lay_back(image, cartoon, portrait.matte, portrait.alignment)
        return [image]
    if options.transparent:
        return [
            np.dstack([cartoon, portrait.matte * 255]).astype(np.uint8)
            for cartoon, portrait in zip(cartoons, portraits, strict=True)
        ]
    return [
        composite(cartoon, portrait.matte, options.colour)
        for cartoon, portrait in zip(cartoons, portraits, strict=True)
    ]


def open_pipeline(settings: Settings) -> Pipeline:
    """Load, verify and warm up the models.

    Raises:
        ManifestError: a model is missing, changed, or does not work.
    """
    cv2.setNumThreads(1)  # requests run side by side; threads inside OpenCV would only compete
    manifest = load_manifest()
    matte = load_model(settings.matte_model) if settings.matte_model else manifest["selfie"]
    generator = manifest[GENERATOR]
    if settings.generator:
        generator = describe_generator(settings.generator, generator)

    def shared(model: Model) -> Network:
        network = OnnxNetwork(model)
        if settings.max_batch == 1:
            return network
        return Batcher(network, settings.max_batch, settings.max_batch_wait_ms / 1000)

    pipeline = Pipeline(
        open_detector(settings, manifest),
        shared(matte),
        shared(generator),
        max_pixels=settings.max_pixels,
        min_face_px=settings.min_face_px,
    )
    pipeline.warm_up()
    return pipeline


def open_detector(settings: Settings, manifest: dict[str, Model]) -> FaceDetector:
    """Load what finds faces: the embedded cascade, or InsightFace's, verified by the same mesh.

    Raises:
        ManifestError: as `open_pipeline`; PackError where it is the operator's pack.
    """
    mesh = OnnxNetwork(manifest["face_mesh"])
    if settings.detector == "embedded" or settings.insightface_pack is None:
        networks = (OnnxNetwork(manifest[name]) for name in ("face_short", "face_full"))
        return FaceDetector(BlazeFaceCascade(*networks), mesh)
    pack = read_pack(settings.insightface_pack)
    fields = {"backend": "insightface", "pack": str(pack.folder), "models": pack.digests}
    log.info("detector", extra={"fields": fields})
    landmarks = Landmarks106(OnnxNetwork(pack.landmarks)) if pack.landmarks else None
    return FaceDetector(ScrfdFinder(OnnxNetwork(pack.detector)), mesh, landmarks)
