"""The one door to Numba: whose folders it touches."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is cached without the compiler"
)


def run(code, folder, **more):
    environment = {**os.environ, "SNAPSIM_CACHE_DIR": str(folder), **more}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_only_our_own_old_caches_are_deleted(tmp_path):
    """A folder that somebody keeps other things in loses nothing."""
    theirs = [tmp_path / name for name in ("photos", "thesis", "music", "mail", "work")]
    ours = tmp_path / "snapsim-kernels"
    old = [ours / f"{number:016x}" for number in range(5)]
    for age, folder in enumerate([*theirs, *old, ours / "notes"]):
        folder.mkdir(parents=True)
        (folder / "file").write_text("kept")
        os.utime(folder, (age, age))
    run("import snapsim._jit", tmp_path)
    assert all((folder / "file").exists() for folder in theirs)
    assert (ours / "notes" / "file").exists()
    assert [folder.exists() for folder in old] == [False, False, False, True, True]


def test_other_users_of_numba_keep_their_folder(tmp_path):
    code = "import snapsim._jit, snapsim.engine.counter, numba; print(numba.config.CACHE_DIR)"
    assert run(code, tmp_path, NUMBA_CACHE_DIR="/theirs").strip() == "/theirs"


def test_kernels_are_compiled_into_the_folder(tmp_path):
    code = "import numpy as np; from snapsim.engine.boxsums import BoxSums; e = np.empty(0, np.int32); "
    code += "BoxSums.build(e, e, e.astype(np.int64), n_instants=1).query(0, 1, 0, 1)"
    run(code, tmp_path)
    assert list((tmp_path / "snapsim-kernels").glob("*/**/*.nbi"))
