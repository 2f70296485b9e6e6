"""What a service that was killed at any moment leaves is found, and what runs is left alone."""

import os
import shutil
from pathlib import Path

import psutil
import pytest

from drdeploy.hosting.local.instances import service_folders
from drdeploy.hosting.local.instances.service_folders import (
    create_service_folder,
    find_service,
    remove_stale_services,
)


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("DRDEPLOY_LOCAL_HOME", str(tmp_path))
    return tmp_path


def cleared():
    names = []
    remove_stale_services(names.append)
    return names


def test_a_service_runs_on_when_the_clock_is_set(own_home, monkeypatch):
    record, folder = create_service_folder(8765)
    # The kernel reports the time of the boot as now minus uptime, so it moves with the clock.
    monkeypatch.setattr(psutil, "boot_time", lambda: 0.0)
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda *_: 0.0)
    monkeypatch.setattr(psutil._psplatform, "BOOT_TIME", 0.0, raising=False)
    assert find_service(8765) == record
    assert cleared() == []
    assert folder.exists()


def test_a_folder_has_its_record_when_it_gets_its_name(own_home, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        create_service_folder(8765)
    assert list(own_home.iterdir()) == []


def test_the_draft_of_a_service_that_was_killed_is_removed(own_home):
    dead, alive = (own_home / f".drdeploy-00000000.{pid}" for pid in (2**22 + 1, os.getpid()))
    for draft in (dead, alive):
        draft.mkdir()
    assert cleared() == []
    assert not dead.exists()
    assert alive.exists()


@pytest.mark.parametrize("record", [None, "", "{", "[]", '{"name": "other"}'])
def test_a_folder_without_a_record_is_of_a_dead_service(own_home, record):
    folder = own_home / "drdeploy-00000000"
    folder.mkdir()
    if record is not None:
        (folder / "service.json").write_text(record)
    assert cleared() == ["drdeploy-00000000"]
    assert not folder.exists()


def test_what_else_lies_in_the_folder_is_left_alone(own_home):
    for name in ("drdeploy-notes", "drdeploy-local-0", "photographs"):
        (own_home / name).mkdir()
    assert cleared() == []
    assert len(list(own_home.iterdir())) == 3


def test_the_record_of_another_process_with_the_same_id_is_stale(own_home, monkeypatch):
    _, folder = create_service_folder(8765)
    monkeypatch.setattr(service_folders, "_read_process_start_time", lambda _pid: "another boot/1")
    assert cleared() == [folder.name]
    shutil.rmtree(folder, ignore_errors=True)
