"""Write down in the manifest what each model answers to the self test.

`python -m photo2cartoon_models.conversion.golden`.

To be run once when a model file is final, on a machine whose answers were looked at.
"""

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime

from photo2cartoon_models.files import write_file
from photo2cartoon_models.manifest import MANIFEST_PATH, load_manifest
from photo2cartoon_models.preprocess import probe_input, summarise

DIGITS = 6
NUMBERS = r"\[\s+-?\d+\.\d[^\[\]]*\]"  # a list of floats, which json would lay one to a line


def write_golden(path: Path = MANIFEST_PATH) -> None:
    """Run every model of the manifest at `path` on the self test's input, and keep the summary.

    Raises:
        ManifestError: a file is not the manifest's.
    """
    manifest = json.loads(path.read_text(encoding="utf-8"))
    models = load_manifest(path)
    for entry in manifest["models"]:
        model = models[entry["name"]]
        contract = model.inputs[0]
        session = onnxruntime.InferenceSession(
            model.read_verified(), providers=["CPUExecutionProvider"]
        )
        feed = {contract.name: probe_input(contract.shape, contract.layout, contract.range)}
        outputs = session.run([output.name for output in model.outputs], feed)
        entry["golden"] = [np.round(summarise(output), DIGITS).tolist() for output in outputs]
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    text = re.sub(NUMBERS, lambda found: " ".join(found[0].split()), text)
    write_file(path, (text + "\n").encode())


if __name__ == "__main__":
    write_golden()
