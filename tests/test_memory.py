"""Free memory is the least that the machine and every control group around us leave."""

from pathlib import Path

import pytest

from data.machine import memory

GB = 10**9


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GB free and no control groups."""
    (tmp_path / "meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable: 7812500 kB\n")
    (tmp_path / "cgroup").write_text("")
    monkeypatch.setattr(memory, "MACHINE", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "PROCESS_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "groups")
    return tmp_path


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def test_without_groups_it_is_the_machines(system: Path):
    assert memory.free_memory() == 8 * GB


def test_version_1_counts_what_can_be_given_back(system: Path):
    (system / "cgroup").write_text("9:cpu,cpuacct:/job\n4:memory:/job\n")
    limits = {"memory__limit_in_bytes": 3 * GB, "memory__usage_in_bytes": 2 * GB}
    stat = f"cache 5\ntotal_inactive_file {GB // 2}"
    group(system / "groups" / "memory" / "job", **limits, memory__stat=stat)
    assert memory.free_memory() == 1.5 * GB


@pytest.mark.parametrize("name", ["memory__max", "memory__high"])
def test_version_2_takes_the_least_of_the_groups_around(system: Path, name: str):
    (system / "cgroup").write_text("0::/slice/job\n")
    inner = {"memory__max": "max", "memory__high": "max", "memory__current": GB}
    group(system / "groups" / "slice" / "job", **inner, memory__stat="inactive_file 0")
    outer = {name: 4 * GB, "memory__current": 3 * GB}
    group(system / "groups" / "slice", **outer, memory__stat="inactive_file 1000")
    assert memory.free_memory() == GB + 1000


def test_a_container_sees_its_group_at_the_root(system: Path):
    (system / "cgroup").write_text("0::/docker/0123\n")
    files = {"memory__max": 2 * GB, "memory__current": GB, "memory__stat": "inactive_file 0"}
    group(system / "groups", **files)
    assert memory.free_memory() == GB


def test_a_group_above_its_limit_leaves_nothing(system: Path):
    (system / "cgroup").write_text("0::/job\n")
    files = {"memory__high": GB, "memory__current": 2 * GB, "memory__stat": "inactive_file 0"}
    group(system / "groups" / "job", **files)
    assert memory.free_memory() == 0
