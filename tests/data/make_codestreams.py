"""How `codestreams/*.zip` were made: a crop of slicerio's chest CT in two codecs that pydicom cannot write.

Run once, with imagecodecs 2026.3.6 (`ljpeg_encode`, `htj2k_encode`): python -m tests.data.make_codestreams
"""

import io
import zipfile
from pathlib import Path

import imagecodecs

from tests.real_slices import ct_stack

FOLDER = Path(__file__).with_name("codestreams")

ENCODERS = {
    "jpeg-lossless": lambda image: imagecodecs.ljpeg_encode(image, bitspersample=16),
    "htj2k": lambda image: imagecodecs.htj2k_encode(image, reversible=True),
}


def main() -> None:
    for name, encode in ENCODERS.items():
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for number, image in enumerate(ct_stack()):
                archive.writestr(zipfile.ZipInfo(f"{number:02d}"), encode(image))
        (FOLDER / f"{name}.zip").write_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
