"""The command `train-backbone`."""

import subprocess
import sys

from click.testing import CliRunner

from extract.tasks.cli import main


def test_command_line():
    runner = CliRunner()
    bad = runner.invoke(main, ["--task", "saliency", "--out", "x.pt", "--limit", "3"])
    assert bad.exit_code == 1
    assert "leaves no image to validate on" in bad.stderr
    assert runner.invoke(main, ["--task", "sorting", "--out", "x.pt"]).exit_code == 2


def test_help_needs_no_torch():
    code = (
        "import sys; from extract.tasks.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
