"""Files that are whole or not there: on full disks, shared folders and disks of few abilities."""

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from benchmarks.flip_bits import make_cache
from data.cache.files.sums import read_sums
from data.tools.errors import UserError
from data.tools.files import (
    check_writable,
    create_part,
    forget_pages,
    write_bytes,
    write_text,
    write_torch,
    writing,
)
from data.tools.hdf5 import CheckedStream


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def limited(code: str, size: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code that cannot write files of more than `size` bytes, as on a full disk."""
    limit = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size},) * 2)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", limit + code, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_file_appears_whole_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old\r\n")
    with writing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old\r\n"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["table.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_was_there_stays_when_writing_fails(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")

    def write_half() -> None:
        with writing(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


def test_a_planted_link_is_not_written_through(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("table.csv.part", "table.csv", ".writable"):
        (folder / name).symlink_to(victim)
    check_writable(folder, "--out")
    write_text(folder / "table.csv", "numbers")
    assert victim.read_text() == "mine"
    assert (folder / "table.csv").read_text() == "numbers"


def test_parts_are_created_exclusively_under_names_that_cannot_be_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ("x" * 250 + ".csv")  # with an ending added it would be too long
    assert len({create_part(path).name for _ in range(50)}) == 50
    write_text(path, "numbers")
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    victim = tmp_path / "victim"
    (tmp_path / f"{path.name[:40]}.guessed.part").symlink_to(victim)
    with pytest.raises(FileExistsError):
        create_part(path)
    assert not victim.exists()


def test_many_writers_of_one_name_do_not_meet(tmp_path: Path) -> None:
    failures = []

    def write(content: bytes) -> None:
        try:
            for _ in range(30):
                check_writable(tmp_path, "--out")
                write_bytes(tmp_path / "scores.csv", content)
        except Exception as error:
            failures.append(error)

    contents = [bytes([65 + number]) * 5000 for number in range(4)]
    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (tmp_path / "scores.csv").read_bytes() in contents
    assert names(tmp_path) == ["scores.csv"]


def test_what_killed_runs_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    kept = ["foreign.csv.0123456789abcdef.part", "table.csv.part", "table.csv.mine.part"]
    yesterday = time.time() - 25 * 3600
    for name in ("table.csv.0123456789abcdef.part", *kept):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (yesterday, yesterday))
    young = create_part(path)
    write_text(path, "numbers")
    assert names(tmp_path) == sorted([*kept, young.name, "table.csv"])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_called_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    path = tmp_path / "table.csv"
    with pytest.raises(UserError, match=rf"{path}: no space left on its disk; free some"):
        write_text(path, "numbers")
    assert names(tmp_path) == []


def test_errors_that_are_not_of_writing_are_not_called_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), writing(tmp_path / "table.csv"):
        (tmp_path / "elsewhere" / "input.csv").read_text()
    assert names(tmp_path) == []


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_a_disk_that_cannot_flush_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(os, "posix_fadvise", refuse)
    write_text(tmp_path / "table.csv", "numbers")
    forget_pages(tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text() == "numbers"


def test_a_disk_that_loses_what_is_flushed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match=r"table\.csv \(Input/output error\)"):
        write_text(tmp_path / "table.csv", "numbers")


def test_a_folder_that_cannot_be_made_or_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write to .*file.*choose another --out"):
        check_writable(tmp_path / "file" / "folder", "--out")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*folder \(Is a directory\)"):
        write_text(tmp_path / "folder", "numbers")


@pytest.mark.parametrize("size", [0, 3000, 20_000])
def test_a_full_disk_under_an_index_ends_in_one_line(tmp_path: Path, size: int) -> None:
    # HDF5 itself, given such a disk, crashes at exit (139) after hundreds of lines.
    make_cache(tmp_path)
    known = read_sums(tmp_path)
    for name in ("cache.h5", "SHA256SUMS"):
        (tmp_path / name).unlink()
    code = (
        "from pathlib import Path; from data.cache.index import write_index\n"
        "from data.cache.files.manifest import read_manifest\n"
        "from data.tools.errors import UserError\n"
        "folder = Path(sys.argv[1])\n"
        "try: write_index(folder, read_manifest(folder), dict(enumerate(sys.argv[2:])))\n"
        "except UserError as error: print(error)\n"
    )
    shards = [known[f"shard-0000{shard}.h5"] for shard in range(2)]
    done = limited(code, size, str(tmp_path), *shards)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"cannot write {tmp_path}")
    assert "(File too large)" in done.stdout
    assert not (tmp_path / "cache.h5").exists()
    assert not list(tmp_path.glob("*.part"))


def test_hdf5_can_close_a_stream_whose_disk_is_full(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; import h5py, numpy as np\n"
        "from data.tools.files import create_part; from data.tools.hdf5 import CheckedStream\n"
        "stream = CheckedStream(create_part(Path(sys.argv[1])))\n"
        "file = h5py.File(stream, 'w')\n"
        "dataset = file.create_dataset('f1', (8, 10_000), 'f4')\n"
        "for row in range(8): dataset[row] = row\n"
        "try: stream.check()\n"
        "except OSError as error: print(error.strerror)\n"
        "file['late'] = np.arange(1000)\n"
        "file.close()\n"
    )
    done = limited(code, 100_000, str(tmp_path / "shard.h5"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "File too large\n", "")


def test_a_stream_holds_what_hdf5_wrote(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(4, 3000)).astype(np.float16)
    stream = CheckedStream(create_part(tmp_path / "shard.h5"))
    with h5py.File(stream, "w") as file:
        file.create_dataset("f1", features.shape, "<f2")
        for row, values in enumerate(features):
            file["f1"][row] = values
        file.attrs["schema"] = 2
        offset = file["f1"].id.get_offset()
    stream.close()
    stream.check()
    (part,) = tmp_path.iterdir()
    with h5py.File(part) as file:
        np.testing.assert_array_equal(file["f1"], features)
        assert file.attrs["schema"] == 2
    written = np.frombuffer(part.read_bytes(), np.float16, features.size, offset)
    np.testing.assert_array_equal(written, features.ravel())


def test_torch_files_say_that_the_disk_is_full(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    write_torch(path, {"a": torch.arange(10)})
    assert torch.equal(torch.load(path)["a"], torch.arange(10))
    code = (
        "from pathlib import Path; import torch; from data.tools.files import write_torch\n"
        "write_torch(Path(sys.argv[1]), {'a': torch.arange(100_000)})\n"
    )
    done = limited(code, 10_000, str(path))
    assert done.stderr.splitlines()[-1].startswith(
        f"data.tools.errors.UserError: cannot write {path} (File too large)"
    )
    assert torch.equal(torch.load(path)["a"], torch.arange(10))
    assert names(tmp_path) == ["checkpoint.pt"]
