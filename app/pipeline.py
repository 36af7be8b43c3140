"""The pipeline: a photo in, a cartoon out, as a list of stages in the order they happen."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.alignment import crop_face, estimate_alignment
from app.clock import StageClock
from app.face import FaceDetector, select_face
from app.image import OutputFormat, decode_image, encode_image
from app.matte import predict_matte
from app.onnx import OnnxNetwork
from app.settings import Settings
from models.manifest import Model, load_manifest
from models.preprocess import composite, to_image, to_tensor

GENERATOR = "photo2cartoon-starter-lite"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A photo ready for the generator.

    Attributes:
        tensor: `(3, S, S)` float32, RGB, -1..1: the aligned portrait on white.
        matte: `(S, S)` float32, 0..1.
    """

    tensor: NDArray[np.float32]
    matte: NDArray[np.float32]


class Pipeline:
    """The whole way, on loaded networks. Keeps nothing of a photo; any thread may call it."""

    def __init__(
        self,
        detector: FaceDetector,
        matte: OnnxNetwork,
        generator: OnnxNetwork,
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

    @property
    def models(self) -> list[Model]:
        """The models in use."""
        return [*self.detector.models, self.matte.model, self.generator.model]

    def cartoonize(
        self, photo: bytes, output_format: OutputFormat = "png", clock: StageClock | None = None
    ) -> bytes:
        """Turn the bytes of a photo into the bytes of a cartoon, `size` x `size` px on white.

        Raises:
            Problem: any of the family in `app.errors` whose cause lies in the photo.
        """
        clock = clock or StageClock()
        prepared = self.prepare(photo, clock)
        with clock.stage("generate"):
            output = self.generate(prepared.tensor)
        return self.finish(output, prepared.matte, output_format, clock)

    def prepare(self, photo: bytes, clock: StageClock) -> Prepared:
        """Everything before the generator."""
        with clock.stage("decode"):
            image = decode_image(photo, self.max_pixels)
        with clock.stage("detect"):
            face = select_face(self.detector.detect(image))
        with clock.stage("align"):
            alignment = estimate_alignment(face, (image.shape[1], image.shape[0]), self.min_face_px)
            crop = crop_face(image, alignment, self.size)
        with clock.stage("matte"):
            matte = predict_matte(self.matte, crop)
        with clock.stage("compose"):
            return Prepared(to_tensor(composite(crop.pixels, matte)), matte)

    def generate(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the generator on one tensor `(3, S, S)`; the same shape comes back."""
        (output,) = self.generator.run(tensor[None])
        first: NDArray[np.float32] = output[0]
        return first

    def finish(
        self,
        output: NDArray[np.float32],
        matte: NDArray[np.float32],
        output_format: OutputFormat,
        clock: StageClock,
    ) -> bytes:
        """Everything after the generator."""
        with clock.stage("compose"):
            cartoon = composite(to_image(output), matte)
        with clock.stage("encode"):
            return encode_image(cartoon, output_format)

    def warm_up(self) -> None:
        """Run every network once.

        Raises:
            ManifestError: one of them does not work.
        """
        for network in (*self.detector.networks, self.matte, self.generator):
            network.warm_up()


def open_pipeline(settings: Settings) -> Pipeline:
    """Load, verify and warm up the embedded models.

    Raises:
        ManifestError: a model is missing, changed, or does not work.
    """
    cv2.setNumThreads(1)  # requests run side by side; threads inside OpenCV would only compete
    manifest = load_manifest()
    networks = {
        name: OnnxNetwork(manifest[name])
        for name in ("face_short", "face_full", "face_mesh", "selfie", GENERATOR)
    }
    pipeline = Pipeline(
        FaceDetector(networks["face_short"], networks["face_full"], networks["face_mesh"]),
        networks["selfie"],
        networks[GENERATOR],
        max_pixels=settings.max_pixels,
        min_face_px=settings.min_face_px,
    )
    pipeline.warm_up()
    return pipeline
