import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.cache.reader import FeatureCache
from data.tools.errors import UserError
from extract.run import extract_features
from tests.extraction import (
    ONE_THREAD,
    command_line,
    contents,
    small_config,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_full_disk_is_refused_before_the_first_image(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_230_000))
    with pytest.raises(UserError, match=r"needs 0\.0121 GB more and its disk has 0\.00123 GB free"):
        extract_features(small_config(photos, tmp_path))
    assert not list(tmp_path.rglob("shard-*"))


def test_a_failing_disk_leaves_nothing_half_written(
    reference: Path, photos: Path, tmp_path: Path
) -> None:
    # A limit on the size of files makes the first shard's writes fail like a bad disk.
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000,) * 2);"
        "from extract.cli import main; main()"
    )
    config = small_config(photos, tmp_path)
    arguments = command_line(config)
    arguments[2] = code
    failed = subprocess.run(arguments, capture_output=True, text=True, check=False, env=ONE_THREAD)
    folder = tmp_path / reference.name
    assert failed.returncode == 1
    assert "shard 0 could not be written" in failed.stderr.splitlines()[-1]
    assert not [path.name for path in folder.iterdir() if path.name.startswith(("shard", "cache"))]
    extract_features(config)
    assert contents(folder) == contents(reference)


def test_a_vanished_folder_is_an_error_of_one_line(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data.cache.shards import ShardWriter

    finish = ShardWriter.finish

    def finish_and_lose(writer: ShardWriter) -> str:
        sha256 = finish(writer)
        shutil.rmtree(writer.path.parent)
        return sha256

    monkeypatch.setattr(ShardWriter, "finish", finish_and_lose)
    with pytest.raises(UserError, match="shard 1 could not be written"):
        extract_features(small_config(photos, tmp_path))


def test_a_second_process_is_refused(reference: Path, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / reference.name
    folder.mkdir()
    holder = (
        "import sys; from pathlib import Path; from data.cache.files.locks import CacheLocks\n"
        "with CacheLocks(Path(sys.argv[1])) as locks, locks.shards([1]):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(UserError, match="another process is extracting shard 1"):
            extract_features(small_config(photos, tmp_path))
        process.kill()
    extract_features(small_config(photos, tmp_path))
    assert contents(folder) == contents(reference)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def heed_interrupts() -> None:
    # A test run started in the background of a script ignores SIGINT, and so would its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_resumes(
    reference: Path, photos: Path, tmp_path: Path, stop: signal.Signals
) -> None:
    config = small_config(photos, tmp_path)
    folder = tmp_path / reference.name
    process = subprocess.Popen(
        command_line(config),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ONE_THREAD,
        preexec_fn=heed_interrupts,
    )
    wait_for(folder / "shard-00000.h5", process)
    process.send_signal(stop)
    _, stderr = process.communicate(timeout=300)
    assert not (folder / "cache.h5").exists()
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert "run the command again without --overwrite" in stderr
        assert not list(folder.glob("*.part"))
    extract_features(config)
    assert contents(folder) == contents(reference)


def test_out_of_memory_halves_the_batch(
    reference: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from extract.levels import LevelExtractor

    plain = LevelExtractor.__call__

    def small_device(
        extractor: LevelExtractor, images: torch.Tensor, *more: Any
    ) -> dict[str, torch.Tensor]:
        if len(images) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return plain(extractor, images, *more)

    monkeypatch.setattr(LevelExtractor, "__call__", small_device)
    folder = extract_features(small_config(photos, tmp_path))
    assert capsys.readouterr().err.count("out of memory: going on with --batch-size") == 2
    rows = np.arange(150)
    np.testing.assert_allclose(
        FeatureCache(folder).read("f2", rows),
        FeatureCache(reference).read("f2", rows),
        rtol=2e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize("renamed", [1, 2, 3])
def test_a_verify_killed_between_its_renames_is_mended(
    resumable: Path, reference: Path, photos: Path, tmp_path: Path, renamed: int
) -> None:
    for name in ("shard-00001.h5", "SHA256SUMS", "cache.h5")[:renamed]:
        (resumable / name).rename(resumable / f"{name}.damaged")
    extract_features(small_config(photos, tmp_path))
    assert contents(resumable) == contents(reference)
