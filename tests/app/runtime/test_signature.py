"""With a key, nothing is loaded that its holder did not sign."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from typer.testing import CliRunner

from photo2cartoon.cli.main import commands
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.opening import find_matte, find_styles
from photo2cartoon.runtime.checks import StartRefused
from photo2cartoon.runtime.signature import SigningError, sign, signature_check
from photo2cartoon_models.manifest import MANIFEST_PATH, ManifestError, load_manifest
from tests.networks import write_generator
from tests.places import PHOTO

RUN = CliRunner()
# The service, and everything else, on a copy of the models that come along.
ELSEWHERE = """
import os
from pathlib import Path
from photo2cartoon_models import manifest
folder = Path(os.environ["MODELS"])
manifest.load_manifest.__defaults__ = folder / "manifest.json", None
from photo2cartoon.cli.main import main; main()
"""


def write_key(path: Path, private: Ed25519PrivateKey | None = None) -> Path:
    key = private or Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def copy_models(folder: Path) -> Path:
    """The manifest and its files, as a folder that may be changed."""
    (folder / "weights").symlink_to(MANIFEST_PATH.parent / "weights")
    manifest = folder / "manifest.json"
    manifest.write_bytes(MANIFEST_PATH.read_bytes())
    return manifest


def test_what_was_signed_is_read_and_nothing_else(tmp_path: Path) -> None:
    manifest = copy_models(tmp_path)
    place, public = sign(manifest, write_key(tmp_path / "key.pem"))
    assert place == tmp_path / "manifest.json.sig"
    check = signature_check(public)
    assert check is not None
    assert load_manifest(manifest, check) == load_manifest(manifest)
    signed = place.read_bytes()
    for wrong in (b"", b"\n", b"no base64!", base64.b64encode(bytes(64)), signed[:-9]):
        place.write_bytes(wrong)
        with pytest.raises(ManifestError, match=r"is not what was signed: .* is no signature"):
            load_manifest(manifest, check)
    place.write_bytes(signed)
    manifest.write_bytes(manifest.read_bytes() + b" ")  # the same JSON, other bytes
    with pytest.raises(ManifestError, match="is not what was signed"):
        load_manifest(manifest, check)
    place.unlink()
    with pytest.raises(ManifestError, match=r"is not signed: .*manifest\.json\.sig: No such file"):
        load_manifest(manifest, check)


def test_the_signature_of_another_key_is_none(tmp_path: Path) -> None:
    manifest = copy_models(tmp_path)
    sign(manifest, write_key(tmp_path / "key.pem"))
    stranger = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(ManifestError, match="is not what was signed"):
        load_manifest(manifest, signature_check(base64.b64encode(stranger).decode()))


def test_models_of_the_operator_need_entries_that_are_signed(tmp_path: Path) -> None:
    key = write_key(tmp_path / "key.pem")
    own = write_generator(tmp_path / "mine.onnx")
    manifest = load_manifest()
    entry = json.loads(MANIFEST_PATH.read_text())["models"]
    (generator,) = (each for each in entry if each["name"] == "photo2cartoon-lite")
    _, public = sign(copy_models(tmp_path), key)
    check = signature_check(public)
    assert [model.name for model in find_styles(manifest, [own])] == ["mine"]
    with pytest.raises(
        ManifestError, match=r"mine\.onnx is not signed: it has no entry mine\.json"
    ):
        find_styles(manifest, [own], check)
    own.with_suffix(".json").write_text(json.dumps({**generator, "name": "mine"}))
    with pytest.raises(ManifestError, match=r"mine\.json is not signed"):
        find_styles(manifest, [own], check)
    sign(own.with_suffix(".json"), key)
    assert [model.name for model in find_styles(manifest, [own], check)] == ["mine"]
    settings = Settings(matte_model=tmp_path / "matte.onnx")
    own.with_suffix(".json").rename(tmp_path / "matte.json")
    with pytest.raises(ManifestError, match=r"matte\.json is not signed"):
        find_matte(settings, manifest, check)


def test_a_key_is_given_in_two_ways(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    manifest = copy_models(tmp_path)
    _, public = sign(manifest, write_key(tmp_path / "key.pem", private))
    file = tmp_path / "public.pem"
    form = PublicFormat.SubjectPublicKeyInfo
    file.write_bytes(private.public_key().public_bytes(Encoding.PEM, form))
    for key in (public, str(file)):
        load_manifest(manifest, signature_check(key))
    assert signature_check(None) is None


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("no key")
    form = PublicFormat.SubjectPublicKeyInfo
    other = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.PEM, form)
    (tmp_path / "other.pem").write_bytes(other)
    short = base64.b64encode(bytes(31)).decode()
    for key, reason in (
        (str(tmp_path / "none.pem"), "No such file"),
        (str(tmp_path / "text.pem"), "not a public key in PEM"),
        (str(tmp_path / "other.pem"), "a key of another kind"),
        (str(tmp_path), "Is a directory"),
        (short, "No such file"),
    ):
        with pytest.raises(StartRefused, match=f"P2C_MANIFEST_KEY=.*: {reason}.*: give an Ed25519"):
            signature_check(key)


def test_what_cannot_sign_is_refused(tmp_path: Path) -> None:
    manifest = copy_models(tmp_path)
    plain, locked = tmp_path / "text.pem", tmp_path / "locked.pem"
    plain.write_text("no key")
    private, form = Ed25519PrivateKey.generate(), PrivateFormat.PKCS8
    locked.write_bytes(private.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"x")))
    other = tmp_path / "other.pem"
    curve = generate_private_key(SECP256R1())
    other.write_bytes(curve.private_bytes(Encoding.PEM, form, NoEncryption()))
    for key, reason in (
        (tmp_path / "none.pem", "No such file"),
        (plain, "not a private key"),
        (locked, "has a password"),
        (other, "another kind"),
    ):
        with pytest.raises(SigningError, match=reason):
            sign(manifest, key)
    with pytest.raises(SigningError, match="No such file"):
        sign(tmp_path / "none.json", write_key(tmp_path / "key.pem"))
    result = RUN.invoke(commands, ["models", "sign", str(manifest), "--key", str(plain)])
    assert (result.exit_code, result.stderr) == (2, f"{plain}: not a private key in PEM\n")
    assert not (tmp_path / "manifest.json.sig").exists()


def call(folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A process of the command line, on the models in `folder`."""
    environment = {
        "PYTHONPATH": ":".join(path for path in sys.path if path),
        "MODELS": str(folder),
        "P2C_PORT": "0",
        **settings,
    }
    return subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_signed_and_changed_from_end_to_end(tmp_path: Path) -> None:
    """Real processes: signed by a command, drawn, changed, and refused in one line."""
    manifest, key = copy_models(tmp_path), write_key(tmp_path / "key.pem")
    signed = call(tmp_path, "models", "sign", str(manifest), "--key", str(key))
    assert signed.returncode == 0, signed.stderr
    public = signed.stdout.splitlines()[1].removeprefix("P2C_MANIFEST_KEY=")
    verified = call(tmp_path, "models", "verify", P2C_MANIFEST_KEY=public)
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.splitlines()[0] == "signatures: ok"
    drawing = ("run", str(PHOTO), "-o", "out.png")
    assert call(tmp_path, *drawing, P2C_MANIFEST_KEY=public).returncode == 0
    (tmp_path / "out.png").unlink()
    manifest.write_text(manifest.read_text().replace('"drawn"', '"photo"'))
    (tmp_path / "weights").unlink()  # a model that was loaded first would be missing
    for words in (("serve",), drawing):
        refused = call(tmp_path, *words, P2C_MANIFEST_KEY=public)
        assert refused.returncode == 2
        said = [line for line in refused.stderr.splitlines() if not line.startswith("{")]
        assert len(said) == 1
        assert "manifest.json is not what was signed" in said[0]
    assert not (tmp_path / "out.png").exists()
    verified = call(tmp_path, "models", "verify", P2C_MANIFEST_KEY=public)
    assert (verified.returncode, verified.stdout) == (1, "")
    examined = call(tmp_path, "doctor", P2C_MANIFEST_KEY=public, COLUMNS="300")
    assert examined.returncode == 1
    assert "manifest.json is not what was signed" in examined.stdout
    assert "-> photo2cartoon models sign, or unset P2C_MANIFEST_KEY" in examined.stdout
    (tmp_path / "weights").symlink_to(MANIFEST_PATH.parent / "weights")
    assert call(tmp_path, *drawing).returncode == 0  # without a key, as before


def test_a_key_without_the_library_says_what_to_install(tmp_path: Path) -> None:
    copy_models(tmp_path)
    missing = "import sys; sys.modules['cryptography'] = None\n" + ELSEWHERE
    environment = {"PYTHONPATH": ":".join(sys.path), "MODELS": str(tmp_path), "P2C_PORT": "0"}
    key = base64.b64encode(bytes(32)).decode()
    for words in (["serve"], ["models", "sign", "--key", "k"]):
        done = subprocess.run(
            [sys.executable, "-c", missing, *words],
            env={**environment, "P2C_MANIFEST_KEY": key},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        assert (done.returncode, len(said)) == (2, 1)
        assert "needs the package cryptography: pip install 'photo2cartoon[signing]'" in said[0]


def test_no_pack_is_signed() -> None:
    result = RUN.invoke(
        commands,
        ["serve"],
        env={
            "P2C_MANIFEST_KEY": "x",
            "P2C_DETECTOR": "insightface",
            "P2C_INSIGHTFACE_PACK": ".",
        },
    )
    assert result.exit_code == 2
    assert "P2C_MANIFEST_KEY excludes P2C_DETECTOR=insightface" in result.stderr
