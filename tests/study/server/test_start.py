import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from rocm.errors import StudyError
from rocm.study.design import lifecycle
from rocm.study.server.bodies import JoinBody
from rocm.study.server.start import server_of
from rocm.study.store.identity import study_secret
from tests.study.conftest import new_database, url
from tests.study.small import fill, rater, work


@pytest.mark.parametrize("master", ["0123456789abcdef" * 2, ""])
def test_who_came_before_the_loss_of_a_disk_is_known_again_by_the_secret(tmp_path, caplog, master):
    home, bucket = tmp_path / "home", tmp_path / "bucket"
    settings = {"ROCM_BACKUP": str(bucket), "ROCM_STUDY_SECRET": master}
    body = JoinBody(source="prolific", external_id="5f0c")
    api = server_of(home, settings, True, False).api
    study = fill(api.store)
    lifecycle.open_study(api.store, study)
    assert [api.join(study, body)["is_new"] for _ in range(2)] == [True, False]
    work(api.store, rater(api.store))
    votes = api.store.votes(study)
    api.store.close()
    kept = b"".join(file.read_bytes() for file in bucket.iterdir())
    assert study_secret(home / "study-secrets", study, master) not in kept
    shutil.rmtree(home)
    again = server_of(home, settings, True, False).api
    assert again.store.votes(study) == votes != []
    assert again.join(study, body)["is_new"] == (not master)
    assert ("ROCM_STUDY_SECRET" in caplog.text) == (not master)
    again.store.close()


def test_odd_settings_are_one_sentence_that_tells_no_secret(tmp_path):
    both = {"DATABASE_URL": "postgresql://nowhere/x", "ROCM_BACKUP": str(tmp_path)}
    for settings, words in ((both, "both set"), ({"ROCM_STUDY_SECRET": "hunter2"}, "32 or more")):
        with pytest.raises(StudyError, match=words) as caught:
            server_of(tmp_path / "home", settings, True, False)
        assert "hunter2" not in str(caught.value)
    assert not (tmp_path / "home").exists()


def test_a_secret_that_is_there_stays_and_each_study_has_its_own(tmp_path):
    master = "0123456789abcdef" * 2
    kept = study_secret(tmp_path, "0" * 12)
    assert study_secret(tmp_path, "0" * 12, master) == kept
    assert len({kept, *(study_secret(tmp_path, one * 12, master) for one in "1234")}) == 5


def test_raters_who_come_at_once_get_the_same_secret(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: study_secret(tmp_path, "0" * 12), range(200)))
    assert len(secrets) == 1


def test_votes_go_into_the_database_that_is_named(tmp_path, postgres):
    settings = {"DATABASE_URL": url(postgres, new_database(postgres))}
    store = server_of(tmp_path, settings, True, False).api.store
    assert fill(store) in str(store.studies())
    assert not (tmp_path / "study.sqlite3").exists()
    store.close()
