"""Where the repository and its example photo are."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
PHOTO = ROOT / "examples" / "photos" / "astronaut.jpg"
