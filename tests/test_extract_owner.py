"""Who owns a cache: runs beside each other, killed, restarted, and folders that are not ours."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from data.cache.files.locks import CacheLocks
from data.cache.files.manifest import read_manifest
from data.cache.reader import FeatureCache
from data.cache.writer import CacheWriter
from data.images.image_set import open_images
from data.tools.errors import UserError
from extract.backbones.backbone import wrap_module
from extract.run import extract_features
from extract.shards.job import run_task
from tests.extraction import ONE_THREAD, command_line, contents, make_photos, small_config

pytestmark = pytest.mark.usefixtures("one_thread")

LATER = 60  # seconds after which nothing more is expected to happen


def wait_until(what: Any) -> None:
    deadline = time.monotonic() + LATER
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def begun(photos: Path, cache_dir: Path, **changes: Any) -> tuple[Path, tuple[Any, ...]]:
    """A cache with a manifest and no shard, and what a worker of it would be started with."""
    config = small_config(photos, cache_dir, **changes)
    complete = extract_features(config)
    for path in complete.glob("*"):
        if path.name != "manifest.json":
            path.unlink()
    images = open_images(
        {"train": config.train, "test": config.test},
        limit=config.limit,
        seed=config.seed,
        num_workers=1,
        image_size=config.image_size,
    )
    return complete, (config, None, images, complete, read_manifest(complete))


def test_a_worker_fills_the_cache_it_was_started_for_or_none(photos: Path, tmp_path: Path) -> None:
    folder, task = begun(photos, tmp_path, limit=5)
    other = make_photos(tmp_path / "other", train=8, test=5)
    second = small_config(other, tmp_path, limit=7, overwrite=True)
    assert extract_features(second) == folder
    before = contents(folder)
    with pytest.raises(UserError, match="deleted or begun anew by another run"):
        run_task(*task, [0])
    assert contents(folder) == before
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="deleted or begun anew by another run"):
        run_task(*task, [0])
    assert not list(folder.glob("*.h5"))


def test_a_cache_made_again_while_a_shard_is_in_work_gets_nothing_of_it(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk without locks, where nothing keeps the second run out."""
    from data.cache.shards import ShardWriter

    write = ShardWriter.write

    def write_and_lose(self: ShardWriter, *arguments: Any) -> None:
        write(self, *arguments)
        other = replace(read_manifest(self.path.parent).identity, seed=9)
        replace(read_manifest(self.path.parent), identity=other).write(self.path.parent)

    monkeypatch.setattr(ShardWriter, "write", write_and_lose)
    with pytest.raises(UserError, match="begun anew by another run"):
        extract_features(small_config(photos, tmp_path, limit=4, batch_size=64))
    assert not list(tmp_path.rglob("shard-*"))
    assert list(tmp_path.rglob("manifest.json")), "the other run's manifest is not ours to remove"


def test_threads_of_one_worker_do_not_share_a_network(
    reference: Path, photos: Path, tmp_path: Path
) -> None:
    folder, task = begun(photos, tmp_path)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda shard: run_task(*task, [shard]), range(3)))
    for shard in reference.glob("shard-*.h5"):
        assert (folder / shard.name).read_bytes() == shard.read_bytes()


def test_threads_of_one_process_keep_each_other_off_a_shard(photos: Path, tmp_path: Path) -> None:
    folder, task = begun(photos, tmp_path, limit=2)
    refused: list[str] = []

    def second() -> None:
        with CacheWriter(folder, task[-1]) as cache:
            try:
                with cache.shards([0]):
                    pass
            except UserError as error:
                refused.append(str(error))

    with CacheWriter(folder, task[-1]) as cache, cache.shards([0]):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        # Closing the other's descriptor has not freed the lock: another process is kept out, too.
        code = (
            "import fcntl, sys; file = open(sys.argv[1], 'r+b')\n"
            "fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1)"
        )
        command = [sys.executable, "-c", code, str(folder / ".lock")]
        assert b"BlockingIOError" in subprocess.run(command, stderr=-1, check=False).stderr
    assert len(refused) == 1
    assert "shard 0" in refused[0]


def test_a_worker_that_is_refused_holds_nothing_its_successor_needs(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, task = begun(photos, tmp_path, limit=2)
    writer = CacheWriter(folder, replace(task[-1], identity=replace(task[-1].identity, seed=9)))
    check = writer.check_owner

    def check_while_another_claims() -> None:
        with CacheLocks(folder) as other, other.shards([0]):
            check()

    monkeypatch.setattr(writer, "check_owner", check_while_another_claims)
    with writer, pytest.raises(UserError, match="begun anew"), writer.shards([0]):
        pass


def test_overwriting_what_another_process_writes_is_refused(resumable: Path, photos: Path) -> None:
    """Also where the new cache has fewer shards than the one that is being written."""
    before = contents(resumable)
    holder = (
        "import sys; from pathlib import Path; from data.cache.files.locks import CacheLocks\n"
        "with CacheLocks(Path(sys.argv[1])) as locks, locks.shards([2]):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(resumable)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(UserError, match="another process is extracting shard 2"):
            extract_features(small_config(photos, resumable.parent, limit=2, overwrite=True))
        process.kill()
    assert contents(resumable) == before


def test_overwrite_that_cannot_begin_keeps_the_cache_there(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4))
    backbone = wrap_module(module, name="own", taps=("1",), image_size=32)
    config = small_config(photos, tmp_path, limit=3)
    folder = extract_features(config, backbone)
    before = contents(folder)

    def lose(*_: object, **__: object) -> None:
        raise UserError("an image is gone")

    monkeypatch.setattr("extract.shards.job.measure_statistics", lose)
    with pytest.raises(UserError, match="an image is gone"):
        extract_features(replace(config, limit=2, overwrite=True), backbone)
    assert contents(folder) == before


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_workers_end_with_the_command(tmp_path: Path, stop: signal.Signals) -> None:
    photos = make_photos(tmp_path / "photos", train=700, test=1)
    run = subprocess.Popen(
        command_line(small_config(photos, tmp_path / "features", jobs=2)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ONE_THREAD,
        start_new_session=True,
        # Under nohup the tests ignore it, and what they start would, rightly, too.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    wait_until(lambda: list(tmp_path.glob("features/*/shard-*.h5")))
    run.send_signal(stop)
    run.wait(LATER)
    assert not list(tmp_path.glob("features/*/cache.h5")), "stopped midway"
    wait_until(lambda: not _members(run.pid))


def _members(session: int) -> list[int]:
    """The processes of a session that are still there, but for those nobody has waited for."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.fixture
def read_only(resumable: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A complete cache where nothing can be created, opened for writing or locked."""
    shut = os.open

    def refuse(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and str(resumable.parent) in str(path):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return shut(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(fcntl, "lockf", lambda *_: pytest.fail("a lock without work"))
    return resumable


def test_a_complete_cache_that_cannot_be_written_has_nothing_to_do(
    read_only: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in [read_only, *read_only.iterdir()]}
    assert extract_features(small_config(photos, read_only.parent)) == read_only
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "nothing to do" in capsys.readouterr().err


def test_a_complete_cache_made_with_other_versions_is_complete(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(photos, tmp_path, limit=2)
    folder = extract_features(config)
    before = contents(folder)
    monkeypatch.setattr(np, "__version__", "99")
    extract_features(config)
    assert contents(folder) == before
    (folder / "cache.h5").unlink()
    with pytest.raises(UserError, match="versions"):  # unfinished, it is not mixed with theirs
        extract_features(config)


@pytest.mark.parametrize("number", [errno.EIO, errno.EPROTO, errno.EINVAL, errno.ENOLCK])
def test_a_disk_whose_locks_answer_anything_is_worked_on(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    folder = extract_features(small_config(photos, tmp_path, limit=2))
    assert len(FeatureCache(folder).records) > 4
    assert capsys.readouterr().err.count("no locks available") == 1


def test_a_cache_dir_that_cannot_be_written_is_found_before_any_image(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("an image was decoded"))
    with pytest.raises(UserError, match=r"cannot write to .*file/caches .*--cache-dir"):
        extract_features(small_config(photos, tmp_path / "file" / "caches"))


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_manifest_is_left_alone(photos: Path, tmp_path: Path, overwrite: bool) -> None:
    folder = tmp_path / "squeezenet1_1-random-zeros-image-size-32"
    folder.mkdir()
    for name, content in (("manifest.json", '{"name": "an app"}'), ("shard-00000.h5", "theirs")):
        (folder / name).write_text(content)
    with pytest.raises(UserError, match="is not that of a feature cache"):
        extract_features(small_config(photos, tmp_path, limit=2, overwrite=overwrite))
    assert (folder / "manifest.json").read_text() == '{"name": "an app"}'
    assert (folder / "shard-00000.h5").read_text() == "theirs"


def test_foreign_manifests_beside_the_cache_stop_nothing(photos: Path, tmp_path: Path) -> None:
    for number, content in enumerate(
        ("[]", "{}", '{"identity": 1, "images": 2}', "\xff", "[" * 9999)
    ):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "manifest.json").write_text(content)
    (tmp_path / "manifest.json").write_text("{}")
    weights = tmp_path / "some.pth"
    from torchvision import models

    torch.save(models.squeezenet1_1().state_dict(), weights)
    config = small_config(photos, tmp_path, limit=2, weights=str(weights))
    assert extract_features(config).name == "squeezenet1_1-some-zeros-image-size-32"


def edit_names(manifest: dict[str, Any]) -> None:
    manifest["images"][0]["name"] = "another.png"


def edit_counts(manifest: dict[str, Any]) -> None:
    manifest["images"] *= 10


def edit_levels(manifest: dict[str, Any]) -> None:
    manifest["identity"]["levels"]["f1"] = 4


def edit_calibration(manifest: dict[str, Any]) -> None:
    manifest["identity"]["calibration"] = {"images": 1, "batch_size": 1, "sha256": "0" * 64}


@pytest.mark.parametrize("edit", [edit_names, edit_counts, edit_levels, edit_calibration])
def test_an_unfinished_cache_whose_manifest_was_edited_is_refused(
    resumable: Path, photos: Path, edit: Any
) -> None:
    (resumable / "cache.h5").unlink()
    path = resumable / "manifest.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    before = contents(resumable)
    with pytest.raises(UserError, match=r"manifest.json|made from something else"):
        extract_features(small_config(photos, resumable.parent))
    assert contents(resumable) == before


def test_statistics_taken_out_of_a_manifest_are_missed(photos: Path, tmp_path: Path) -> None:
    config = small_config(
        photos, tmp_path, backbone="resnet18", taps="layer1.0.bn1", limit=2, image_size=64
    )
    folder = extract_features(config)
    (folder / "cache.h5").unlink()
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content["identity"]["calibration"] = None
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"manifest.json was edited"):
        extract_features(config)


def test_a_refused_start_leaves_nothing(photos: Path, tmp_path: Path) -> None:
    class Infinite(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.norm(self.conv(images)) * 1e9

    backbone = wrap_module(nn.Sequential(Infinite()), name="far", taps=("0",), image_size=32)
    with pytest.raises(UserError, match="does not fit float16"):
        extract_features(small_config(photos, tmp_path, limit=3), backbone)
    assert [path.name for path in (tmp_path / "far-own-zeros-image-size-32").iterdir()] == [".lock"]


@pytest.mark.parametrize("name", ["manifest.json", "calibration.h5", "shard-00000.h5", ".lock"])
def test_links_planted_in_the_folder_are_not_written_through(
    photos: Path, tmp_path: Path, name: str
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("precious")
    folder = tmp_path / "squeezenet1_1-random-zeros-image-size-32"
    folder.mkdir()
    (folder / name).symlink_to(mine)
    try:
        extract_features(small_config(photos, tmp_path, limit=2, overwrite=True))
    except UserError:
        assert name == "manifest.json"
    assert mine.read_text() == "precious"
