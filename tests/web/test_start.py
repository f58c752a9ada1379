"""The vote server's store follows its backup folder, if it is given one."""

import shutil

import pytest

from rocm.errors import StudyError
from rocm.study import lifecycle
from rocm.web.start import server_of
from tests.study.small import fill, rater, work


def test_votes_outlive_the_disk_where_a_backup_folder_is_named(tmp_path):
    home, bucket = tmp_path / "home", tmp_path / "bucket"
    store = server_of(home, "", True, False, str(bucket)).api.store
    study = fill(store)
    lifecycle.open_study(store, study)
    work(store, rater(store))
    votes = store.votes(study)
    store.close()
    shutil.rmtree(home)
    again = server_of(home, "", True, False, str(bucket)).api.store
    assert again.votes(study) == votes != []
    again.close()


def test_without_a_backup_folder_nothing_is_written_elsewhere(tmp_path):
    server_of(tmp_path / "home", "", True, False).api.store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_backup_of_postgresql_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(StudyError, match="both set"):
        server_of(tmp_path / "home", "postgresql://nowhere/x", True, False, str(tmp_path))
