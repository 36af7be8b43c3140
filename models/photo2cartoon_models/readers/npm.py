"""Read files of an npm package without installing it."""

import tarfile
from pathlib import Path, PurePosixPath


def read_packed(path: Path, name: str) -> bytes:
    """Content of one file of a package.

    Args:
        path: what `npm pack PACKAGE` downloads (.tgz), or any file of the folder that it was
            unpacked to.
        name: of the file, without folders. In a .tgz the first of that name is taken.

    Raises:
        OSError: it cannot be read.
        ValueError: the package has no such file, or is damaged.
    """
    if path.suffix != ".tgz":
        return (path.parent / name).read_bytes()
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if PurePosixPath(member.name).name == name and member.isfile():
                    file = archive.extractfile(member)
                    if file is not None:
                        return file.read()
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"not a readable package: {error}") from error
    raise ValueError(f"there is no {name} in the package")
