"""Creates the environment of the official scoring packages: `python -m scripts.reference FOLDER`.

Takes about 6 GB with the CUDA libraries that PyPI's torch brings; with
`--index https://download.pytorch.org/whl/cpu` far less. Needs Python 3.11 with tkinter, which hpsv2
imports. Afterwards `ROCM_REFERENCE_PYTHON=FOLDER/bin/python` names it.
"""

import argparse
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements-reference.txt"
VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"


def install(folder: Path, interpreter: str, index: str) -> Path:
    """Create or complete the environment.

    Args:
        folder: of the environment.
        interpreter: Python 3.11 to make it with.
        index: one more package index, or empty.

    Returns:
        Its interpreter.
    """
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([interpreter, "-m", "venv", str(folder)], check=True)
    extra = ["--extra-index-url", index] if index else []
    command = [str(python), "-m", "pip", "install", *extra, "-r", str(REQUIREMENTS)]
    subprocess.run(command, check=True)
    site = subprocess.check_output(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    # hpsv2 1.2.0 was packed without its vocabulary, which is open_clip's.
    source = Path(str(find_spec("open_clip").origin)).with_name(VOCABULARY)
    shutil.copy(source, Path(site.strip()) / "hpsv2" / "src" / "open_clip" / VOCABULARY)
    check = "import hpsv2.img_score, ImageReward"
    subprocess.run([str(python), "-c", check], check=True, cwd=folder)
    return python


def main() -> None:
    """Read the command line and install."""
    parser = argparse.ArgumentParser(prog="python -m scripts.reference", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default=sys.executable, help="Python 3.11, default this one")
    parser.add_argument("--index", default="", help="one more package index")
    options = parser.parse_args()
    python = install(options.folder.resolve(), options.python, options.index)
    print(f"export ROCM_REFERENCE_PYTHON={python}")


if __name__ == "__main__":
    main()
