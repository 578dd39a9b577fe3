"""What is printed never stops the work, and names cannot steer a terminal."""

import errno
import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from data.tools.errors import UserError
from data.tools.progress import progress
from data.tools.terminal import say, show

ROOT = Path(__file__).parent.parent
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


class Broken(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, "it takes nothing")


def run(shell: str) -> subprocess.CompletedProcess[str]:
    """`shell` with $C, the Python that runs a command of ours."""
    command = f'C="{sys.executable} -c"; {shell}'
    return subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC, errno.EBADF, errno.EIO])
def test_no_stderr_is_too_broken(number: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", Broken(number))
    say("lost")
    assert list(progress(range(3), total=3, description="work", unit="items")) == [0, 1, 2]


def test_no_stderr_at_all(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "stderr", None)
    say("lost")  # print(file=None) would put it on stdout
    assert list(progress(range(3), total=3, description="work", unit="items")) == [0, 1, 2]
    assert capsys.readouterr().out == ""


def test_a_full_stdout_is_an_error_and_a_reader_that_has_gone_is_none(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(sys, "stdout", Broken(errno.EPIPE))
    show("result")
    monkeypatch.setattr(sys, "stdout", Broken(errno.ENOSPC))
    with pytest.raises(UserError, match="stdout cannot be written"):
        show("result")


def test_it_is_shown_as_it_is_but_for_what_steers_a_terminal(capsys: pytest.CaptureFixture[str]):
    say("a\x1b[31m\nb")
    show("| a |\n| \x1b |\n")
    captured = capsys.readouterr()
    assert captured.err == "a\\x1b[31m\\nb\n"
    assert captured.out == "| a |\n| \\x1b |\n\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_what_an_encoding_lacks_is_escaped(encoding: str, monkeypatch: pytest.MonkeyPatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    show("Δ 1\nα")
    assert raw.getvalue() == b"\\u0394 1\n\\u03b1\n"


@pytest.mark.parametrize(
    ("streams", "code"),
    [
        ("2>&-", 0),
        (">&- 2>&-", 0),
        ("<&- >&- 2>&-", 0),
        pytest.param("2>/dev/full", 0, marks=needs_full),
        pytest.param(">/dev/full", 1, marks=needs_full),
    ],
)
@pytest.mark.parametrize("option", ["--version", "--help"])
def test_commands_survive_their_streams(option: str, streams: str, code: int):
    command = f'"from extract.cli import main; main()" {option}'
    done = run(f"$C {command} {streams}")
    assert done.returncode == code
    assert "Traceback" not in done.stderr


@needs_full
def test_a_refusal_that_cannot_be_printed_keeps_its_exit_code():
    assert run('$C "from probe.cli import main; main()" --seeds 0 2>/dev/full').returncode == 1


def test_nothing_is_written_into_a_file_that_took_the_place_of_stderr(tmp_path: Path):
    code = (
        "import os; from data.tools.terminal import secure_streams; secure_streams(); "
        f"f = open({str(tmp_path / 'data')!r}, 'wb', buffering=0); os.write(2, b'warning'); "
        "f.write(b'data')"
    )
    assert run(f'$C "{code}" >&- 2>&-').returncode == 0
    assert (tmp_path / "data").read_bytes() == b"data"


def test_a_short_last_batch_counts_as_what_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("data.tools.progress.LOG_INTERVAL_SECONDS", 0.0)
    batches: list[list[int]] = [[1] * 4, [1] * 1, [1] * 3]  # short ones come anywhere
    size: Callable[[list[int]], int] = len
    for _ in progress(batches, total=8, description="work", unit="images", size=size):
        pass
    counts = re.findall(r"work: (\d+)/8", capsys.readouterr().err)
    assert counts == ["4", "5", "8"]
