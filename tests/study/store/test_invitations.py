import pytest

from rocm.errors import StudyError
from rocm.study.archive.pack import pack, unpack
from rocm.study.design import lifecycle
from rocm.study.design.build import Build, build
from rocm.study.design.recipe import Recipe
from rocm.study.store import tables
from rocm.study.store.invitations import invite, invited
from rocm.study.store.pictures import Pictures
from rocm.study.store.queries import hashed
from rocm.study.store.store import Store
from tests.study.design.test_build import RECIPE, FakeQueue
from tests.study.small import STUDY, column, fill


def test_invitations_add_up_and_are_kept_as_hashes(store, study):
    assert invited(store, study) == set()
    codes = [*invite(store, study, 2), *invite(store, study, 1)]
    assert invited(store, study) == {hashed(code) for code in codes}
    kept = str(column(store, tables.event.c.data_json))
    assert not [code for code in codes if code in kept]


def test_invitations_travel_with_the_study(store, fresh, tmp_path):
    pictures = Pictures(tmp_path / "pictures")
    study_id = build(Build(tmp_path, store, pictures, FakeQueue()), Recipe.load(RECIPE))
    codes = invite(store, study_id, 1)
    lifecycle.open_study(store, study_id)
    codes += invite(store, study_id, 1)
    pack(store, pictures, study_id, tmp_path / "study.zip")
    content = (tmp_path / "study.zip").read_bytes()
    assert not [code for code in codes if code.encode() in content]
    other = Store.open(fresh())
    unpack(other, Pictures(tmp_path / "sent"), tmp_path / "study.zip")
    assert invited(other, study_id) == {hashed(one) for one in codes}
    other.close()


def test_odd_invitations_are_one_sentence(store, study):
    for num in (0, 1001):
        with pytest.raises(StudyError, match="give 1 to 1000"):
            invite(store, study, num)
    lifecycle.close(store, study)
    with pytest.raises(StudyError, match="The study is closed"):
        invite(store, study, 1)


def test_a_demonstration_invites_nobody(store):
    fill(store, settings={"is_demo": True})
    with pytest.raises(StudyError, match="a demonstration"):
        invite(store, STUDY, 1)
