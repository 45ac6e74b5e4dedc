"""The phantom's bytes are the same whatever instructions the processor has."""

import os
import subprocess
import sys

import pytest

DIGEST = """
import hashlib
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.phantom.generate import make_subject
digest = hashlib.sha256()
for modality in Modality:
    for volume in make_subject(modality, spacing_mm=2.5, seed=3, number=1):
        digest.update(volume.data.tobytes() + volume.affine.astype("float32").tobytes())
print(digest.hexdigest())
"""

# NumPy has loops of its own for each of these in exp, sin and tanh, which differ in the last bits.
AVX512 = "AVX512F,AVX512CD,AVX512_SKX,AVX512_CLX,AVX512_CNL,AVX512_ICL,AVX512_SPR"


def digest(**environment: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", DIGEST]
    env = os.environ | environment
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"NPY_DISABLE_CPU_FEATURES": AVX512},
        {"NPY_DISABLE_CPU_FEATURES": f"AVX2,FMA3,{AVX512}"},
        {"OPENBLAS_CORETYPE": "Nehalem"},
        {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F"},
    ],
    ids=["without AVX-512", "without AVX2 and FMA", "another BLAS kernel", "another C library"],
)
def test_bytes_do_not_depend_on_the_instruction_set(environment: dict[str, str]):
    assert digest(**environment) == digest()
