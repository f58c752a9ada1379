import pytest
from sqlalchemy import func, select

from rocm.errors import MissingFile, StudyError
from rocm.study.archive.bin import DraftBin
from rocm.study.archive.verify import verify
from rocm.study.design import lifecycle
from rocm.study.design.build import Build, build, recipe_file
from rocm.study.design.recipe import Recipe
from rocm.study.store.invitations import invite, invited
from rocm.study.store.pictures import Pictures
from rocm.study.store.tables import metadata
from tests.study.design.test_build import RECIPE, FakeQueue
from tests.study.small import STUDY, fill, rater, work


@pytest.fixture
def deleted(store, tmp_path) -> DraftBin:
    return DraftBin(tmp_path, store)


@pytest.fixture
def at(store, tmp_path) -> Build:
    return Build(tmp_path, store, Pictures(tmp_path / "study-pictures"), FakeQueue())


def num_rows(store) -> dict[str, int]:
    with store.database.read() as connection:
        return {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
        }


def state(build, study_id) -> tuple:
    """Of a draft, what does not change with the number of a row."""
    rows = lifecycle.pairs(build.store, study_id)
    pairs = [(one.kind, one.struck, one.text, one.picture_a, one.picture_b) for one in rows]
    return pairs, invited(build.store, study_id), num_rows(build.store), files(build)


def files(build) -> dict:
    return {file.name: file.read_bytes() for file in build.pictures.folder.iterdir()}


def test_a_deleted_draft_comes_back_as_it_was(store, at, deleted):
    recipe = Recipe.load(RECIPE | {"main_per_rater": 11})
    study_id = build(at, recipe)
    lifecycle.strike(store, study_id, lifecycle.pairs(store, study_id)[0].id, "shows text")
    (code,) = invite(store, study_id, 1)

    was = state(at, study_id)
    deleted.put(study_id)
    assert (store.studies(), files(at)) == ([], {})
    assert not recipe_file(at.home, study_id).exists()
    assert [(one.study_id, one.title) for one in deleted.drafts()] == [(study_id, RECIPE["title"])]
    kept = b"".join(file.read_bytes() for file in deleted.path.rglob("*.json"))
    assert code.encode() not in kept

    deleted.take_out(study_id)
    assert deleted.drafts() == []
    assert state(at, study_id) == was
    assert Recipe.load(recipe_file(at.home, study_id)) == recipe
    lifecycle.open_study(store, study_id)
    assert verify(store, at.pictures, study_id) == []


def test_what_pilots_did_is_deleted_with_the_draft_and_of_others_nothing(store, at, deleted):
    other = build(at, Recipe.load(RECIPE))
    lifecycle.open_study(store, other)
    before = num_rows(store)
    fill(store)
    assert work(store, rater(store, "pilot")) > 0
    deleted.put(STUDY)
    assert num_rows(store) == before
    assert verify(store, at.pictures, other) == []
    deleted.take_out(STUDY)
    assert (num_rows(store)["vote"], num_rows(store)["rater"]) == (0, 0)
    assert work(store, rater(store, "pilot")) > 0


def test_a_study_that_was_opened_is_never_deleted(store, study, deleted):
    before = num_rows(store)
    for change in (lifecycle.pause, lifecycle.close, None):
        with pytest.raises(StudyError, match="only a draft can be deleted"):
            deleted.put(study)
        assert (num_rows(store) | {"event": 0}, deleted.drafts()) == (before | {"event": 0}, [])
        if change:
            change(store, study)


def test_a_study_that_was_built_anew_is_not_overwritten_from_the_bin(store, at, deleted):
    study_id = build(at, Recipe.load(RECIPE))
    deleted.put(study_id)
    assert build(at, Recipe.load(RECIPE)) == study_id
    now = state(at, study_id)
    with pytest.raises(StudyError, match="was built anew since"):
        deleted.take_out(study_id)
    assert state(at, study_id) == now


def test_an_emptied_bin_gives_nothing_back(store, deleted, tmp_path):
    fill(store)
    deleted.put(STUDY)
    assert deleted.empty() == 1
    for name in (STUDY, "../../runs", ""):
        with pytest.raises(MissingFile, match=r"There is no study .* in the bin"):
            deleted.take_out(name)
    with pytest.raises(StudyError, match="There is no study"):
        deleted.put(STUDY)
