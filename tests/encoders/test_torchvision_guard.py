"""A torchvision whose operators do not load, as pip leaves it beside a CPU-only torch: a stand-in package, for real."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

STAND_IN = {
    "torchvision-0.28.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n",
    "torchvision/_C.so": "no shared library",
    "torchvision/__init__.py": """
import torch

@torch.library.register_fake("torchvision::nms")
def meta_nms(boxes, scores, threshold):
    return boxes
""",
    "torchvision/transforms/__init__.py": """
import enum

class InterpolationMode(enum.Enum):
    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"
""",
    "torchvision/io.py": "",
    "torchvision/transforms/functional.py": """
def pil_to_tensor(image):
    raise NotImplementedError
""",
}
"""As much of torchvision as transformers imports for DINOv2; its first lines fail as the real ones do."""

GUARD = "from raptor_search.encoders.torchvision_guard import guard_torchvision; guard_torchvision()\n"
IMPORT = "from transformers import Dinov2Model\n"


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken")
    for name, content in STAND_IN.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def run(code: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    paths = os.pathsep.join(str(folder) for folder in (*folders, root))
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


def test_transformers_fails_beside_it_and_imports_behind_the_guard(broken: Path) -> None:
    bare = run(IMPORT, broken)
    assert bare.returncode != 0
    assert "Could not import module 'Dinov2Model'" in bare.stderr
    guarded = run(GUARD + IMPORT, broken)
    assert guarded.returncode == 0, guarded.stderr
    assert guarded.stderr == ""


def test_register_fake_is_itself_again_afterwards(broken: Path) -> None:
    code = f"import torch; before = torch.library.register_fake\n{GUARD}assert torch.library.register_fake is before\n"
    assert run(code, broken).returncode == 0


UNFIT = """
from pathlib import Path
import torch
from safetensors.torch import save_file
from raptor_search.encoders import load_encoder
from raptor_search.errors import WeightsError
path = Path({folder!r}) / "model.safetensors"
save_file({{"any": torch.zeros(1)}}, path)
for name in ("dinov2-small", "open_clip:ViT-B-32/openai"):
    try:
        load_encoder(name, weights=path)
    except WeightsError as error:
        print(error.message)
"""


def test_a_torchvision_that_cannot_be_imported_at_all_is_one_sentence(broken: Path, tmp_path: Path) -> None:
    stand_in = tmp_path / "torchvision"
    stand_in.mkdir()
    (stand_in / "__init__.py").write_text("raise ImportError('torchvision was built for another torch')\n")
    done = run(UNFIT.format(folder=str(tmp_path)), tmp_path, broken)  # the metadata that says it is installed: broken's
    lines = done.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["dinov2-small", "open_clip:ViT-B-32/openai"], done.stderr
    for line in lines:
        assert "torchvision is installed but cannot be imported (" in line
        assert "run `pip uninstall -y torchvision`, then `pip install '" in line


def test_the_guard_does_nothing_where_torchvision_is_absent() -> None:
    hidden = "import sys; sys.modules['torchvision'] = None\n"  # as though it were not installed
    done = run(hidden + GUARD + "assert sys.modules['torchvision'] is None")
    assert (done.returncode, done.stderr) == (0, "")
