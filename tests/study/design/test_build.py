import csv
import io
import json
import random
import zipfile
from dataclasses import replace

import pyarrow.parquet
import pytest
from PIL import Image
from sqlalchemy import select

from rocm.errors import ConfigError, DrawingError, MissingFile, StudyError
from rocm.generation.picture import picture_file, png_bytes
from rocm.study.archive.export import export
from rocm.study.archive.pack import pack, unpack
from rocm.study.archive.verify import verify
from rocm.study.design import lifecycle
from rocm.study.design.build import Build, build, identified
from rocm.study.design.manifest import digest
from rocm.study.design.prompts import largest_num, sample
from rocm.study.design.recipe import Prompts, Recipe, num_check_prompts
from rocm.study.design.rounds import last_recipe
from rocm.study.statistics.votes import Votes
from rocm.study.store import tables
from rocm.study.store.erase import erase, forget_payments
from rocm.study.store.invitations import invite, invited
from rocm.study.store.pictures import Pictures, damaged, encoded
from rocm.study.store.queries import hashed
from rocm.study.store.store import Store
from tests.study import small

RECIPE = {
    "title": "Which picture?", "seed": 3, "prompts": {"num": 12}, "rewards": ["colorfulness"],
    "arms": [
        {"name": "base"},
        {"name": "rocm-secretname", "adapter": "assets/adapters/tiny-rocm-kl", "method": "rocm"},
    ],
    "votes_per_pair": 2, "main_per_rater": 12, "checks_per_rater": 1, "repeats_per_rater": 1,
    "min_check_share": 0,  # who always says left fails some
    "max_unseen_share": 1,
    "practice": 1,
    "consent": {
        "version": "1", "text": "You may stop.", "contact": "a@b.c", "min_age": 18,
        "ethics": "none: a test", "pay": "unpaid", "retention": "one year",
    },
}  # fmt: skip


class FakeQueue:
    """Draws one color a picture; fails after `most` of them."""

    def __init__(self, most: int = 10_000):
        self.most = most
        self.drawn = 0
        self.requests = {}

    def submit(self, pictures, folder, rewards=()):
        folder.mkdir(parents=True, exist_ok=True)
        self.requests[len(self.requests)] = (list(pictures), folder, rewards)
        return len(self.requests) - 1

    def results(self, number):
        pictures, folder, rewards = self.requests[number]
        for index, picture in enumerate(pictures):
            if self.drawn >= self.most:
                raise DrawingError("The drawing process died.")
            self.drawn += 1
            dice = random.Random(f"{picture.prompt}{picture.seed}{picture.adapter}")
            image = Image.frombytes("RGB", (16, 16), dice.randbytes(768))
            file = picture_file(folder, index)
            file.write_bytes(png_bytes(image, picture))
            yield index, file, {name: dice.random() for name in rewards}


@pytest.fixture
def work(store, tmp_path) -> Build:
    return Build(tmp_path, store, Pictures(tmp_path / "pictures"), FakeQueue())


def vote_through(store: Store, study_id: str, num_raters: int = 2) -> None:
    for _ in range(num_raters):
        small.work(store, small.rater(store, study_id=study_id))


def opened(work: Build) -> str:
    study_id = build(work, Recipe.load(RECIPE))
    lifecycle.open_study(work.store, study_id)
    return study_id


def rows(store, table) -> list:
    with store.database.read() as connection:
        return list(connection.execute(select(table)).all())


def test_a_built_study_is_voted_through_and_verified(work):
    study_id = opened(work)
    vote_through(work.store, study_id)
    votes = work.store.votes(study_id)
    main = [vote for vote in votes if vote.kind == "main" and vote.repetition == 0]
    assert len(main) == 12 * 2 * 3
    assert {vote.comparison for vote in main} == {"base:rocm-secretname"}
    assert {vote.kind for vote in votes} == {"main", "check", "practice"}
    columns = Votes.from_rows(vars(one) for one in votes).opinions("base:rocm-secretname", "appeal")
    assert sorted(columns.choice) == sorted(o.choice for o in main if o.question == "appeal")
    assert set(work.store.scores(study_id)[main[0].image_a]) == {"colorfulness"}
    assert verify(work.store, work.pictures, study_id) == []
    names = {row.id: row.name for row in rows(work.store, tables.arm)}
    drew = {row.picture_id: names[row.arm_id] for row in rows(work.store, tables.image)}
    for one in votes:  # whatever the random order of the arms' codes
        assert (drew[one.image_a], drew[one.image_b]) == (one.arm_a, one.arm_b)
        assert one.choice == one.left_is  # every answer was left
        if one.kind == "main":
            assert one.arm_a == "base"
        if one.kind == "check":
            assert one.expected == ("a" if one.arm_b == "damaged" else "b")


def test_both_pictures_of_a_pair_are_drawn_from_the_same_noise(work):
    study_id = opened(work)
    drawn = [picture for pictures, _, _ in work.queue.requests.values() for picture in pictures]
    seeds = {picture.prompt: picture.seed for picture in drawn}
    assert len(set(seeds.values())) == len(seeds)
    wanted = {(text, seed, arm) for text, seed in seeds.items() for arm in (False, True)}
    assert sorted((p.prompt, p.seed, p.adapter != "") for p in drawn) == sorted(wanted)
    assert not list((work.home / "studies" / study_id / "drawn").iterdir())


def test_a_build_goes_on_where_it_stopped(work):
    stopped, again = replace(work, queue=FakeQueue(most=10)), replace(work, queue=FakeQueue())
    with pytest.raises(DrawingError):
        build(stopped, Recipe.load(RECIPE))
    study_id = build(work, Recipe.load(RECIPE))
    assert len(rows(work.store, tables.image)) == 2 * 15 + 2
    assert stopped.queue.drawn + work.queue.drawn == 2 * 15
    assert build(again, Recipe.load(RECIPE)) == study_id
    assert again.queue.drawn == 0
    lifecycle.open_study(work.store, study_id)
    with pytest.raises(StudyError, match="is open already"):
        build(again, Recipe.load(RECIPE))


def test_encoding_keeps_every_pixel_and_damage_moves_them():
    image = Image.frombytes("RGB", (16, 16), random.Random(1).randbytes(768))
    with Image.open(io.BytesIO(encoded(image))) as back:
        assert back.convert("RGB").tobytes() == image.tobytes()
    copy = damaged(image, 5)
    assert copy.tobytes() == damaged(image, 5).tobytes() != image.tobytes()
    assert sorted(copy.get_flattened_data()) == sorted(image.get_flattened_data())


def test_the_manifest_names_no_arm_and_keeps_excluded_pairs_with_their_reason(work):
    study_id = build(work, Recipe.load(RECIPE | {"main_per_rater": 11}))
    first = next(row for row in lifecycle.pairs(work.store, study_id) if row.kind == "main")
    for reason in ("", "x" * 501):
        with pytest.raises(StudyError, match="needs a reason"):
            lifecycle.strike(work.store, study_id, first.id, reason)
    lifecycle.strike(work.store, study_id, first.id, "shows text")
    lifecycle.open_study(work.store, study_id)
    info = work.store.study(study_id)
    assert digest(info.config) == info.config_sha256
    assert not any(name in json.dumps(info.config) for name in ("secretname", "tiny-rocm"))
    assert len(info.config["pairs"]) == 12 + 1 + 2
    assert [pair["struck"] for pair in info.config["pairs"] if pair["struck"]] == ["shows text"]
    with pytest.raises(StudyError, match="frozen"):
        lifecycle.strike(work.store, study_id, first.id, None)


def test_a_packed_study_names_no_arm_and_its_votes_come_home(work, fresh, tmp_path):
    study_id = opened(work)
    (code,) = invite(work.store, study_id, 1)
    key = pack(work.store, work.pictures, study_id, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as bundle:
        content = b"".join(bundle.read(name) for name in bundle.namelist())
        assert "score" not in json.loads(bundle.read("study.json"))["tables"]
    assert not any(word in content for word in (b"secretname", b"tiny-rocm", code.encode()))
    space, there = Store.open(fresh()), Pictures(tmp_path / "there")
    assert unpack(space, there, tmp_path / "out.zip") == study_id
    assert invited(space, study_id) == {hashed(code)}
    vote_through(space, study_id)
    assert verify(space, there, study_id) == []
    assert "secretname" not in str(space.votes(study_id))
    pack(space, there, study_id, tmp_path / "votes.zip", with_votes=True)

    unpack(work.store, work.pictures, tmp_path / "votes.zip")
    assert verify(work.store, work.pictures, study_id) == []
    mine = work.store.votes(study_id)
    chosen = [
        [(vote.trial, vote.question, getattr(vote, f"image_{vote.choice}")) for vote in votes]
        for votes in (mine, space.votes(study_id))
    ]
    assert chosen[0] == chosen[1]  # whatever the arms are called
    assert "secretname" in str(mine)
    with pytest.raises(StudyError, match="raters of its own"):
        unpack(work.store, work.pictures, tmp_path / "votes.zip")
    space.close()

    empty, third = Store.open(fresh()), Pictures(tmp_path / "third")
    names = json.loads(key.read_text())
    a, b = list(names["arms"])[:2]
    names["arms"] |= {a: names["arms"][b], b: names["arms"][a]}
    (tmp_path / "forged.json").write_text(json.dumps(names))
    with pytest.raises(StudyError, match="not the key of this study"):
        unpack(empty, third, tmp_path / "votes.zip", tmp_path / "forged.json")
    unpack(empty, third, tmp_path / "votes.zip", key)
    theirs, drop = empty.votes(study_id), {"pair": 0, "prompt": 0}
    assert [vars(vote) | drop for vote in mine] == [vars(vote) | drop for vote in theirs]
    empty.close()


def test_erased_raters_and_payment_ids_are_gone(work):
    study_id = opened(work)
    vote_through(work.store, study_id)
    assert erase(work.store, study_id, 1) > 0
    assert {vote.rater for vote in work.store.votes(study_id)} == {2}
    assert verify(work.store, work.pictures, study_id) == []
    with pytest.raises(StudyError, match="no rater 1"):
        erase(work.store, study_id, 1)
    assert [row.kind for row in rows(work.store, tables.event)] == ["opened", "erased"]
    vote_through(work.store, study_id, 1)
    assert verify(work.store, work.pictures, study_id) == []
    assert [row.number for row in rows(work.store, tables.rater)] == [2, 3]
    work.store.join(study_id, "prolific", ext_hmac="a" * 64, payment_id="5f3c")
    assert [row.external_id for row in rows(work.store, tables.payment)] == ["5f3c"]
    assert forget_payments(work.store, study_id) == 1
    assert rows(work.store, tables.payment) == []


def test_verify_notices_what_was_changed(work):
    study_id = opened(work)
    vote_through(work.store, study_id, 1)

    def wrong():
        return " ".join(verify(work.store, work.pictures, study_id))

    with work.store.database.write() as w:
        w.update(tables.pair, tables.pair.c.kind == "main", issued=0)
    assert "counts 0 votes" in wrong()
    picture = work.pictures.file(rows(work.store, tables.image)[0].picture_id)
    picture.write_bytes(picture.read_bytes() + b"x")
    assert "was changed" in wrong()
    picture.unlink()
    assert "is missing" in wrong()


def test_exports_agree_with_the_votes(work, tmp_path):
    study_id = opened(work)
    vote_through(work.store, study_id)
    folder = tmp_path / "export"
    # Neither an open nor a paused study tells its outcome.
    for stop in (lifecycle.pause, lifecycle.close):
        with pytest.raises(StudyError, match="Close it first"):
            export(work.store, work.pictures, study_id, folder, "overall")
        assert not folder.exists()
        stop(work.store, study_id)
    export(work.store, work.pictures, study_id, folder, "overall")
    votes, sha = work.store.votes(study_id), work.store.study(study_id).config_sha256
    with open(folder / "votes.csv", newline="") as file:
        table = [(row["trial"], row["manifest"]) for row in csv.DictReader(file)]
    assert table == [(vote.trial, sha) for vote in votes]
    assert pyarrow.parquet.read_table(folder / "votes.parquet").num_rows == len(votes)
    main = [vote for vote in votes if vote.kind == "main" and vote.repetition == 0]
    chosen = [vote for vote in main if vote.question == "overall"]

    def lines(name, column):
        table = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
        assert {(row["manifest"], row["source"]) for row in table} == {(sha, "link")}, name
        return [row[column] for row in table]

    assert lines("pick-a-pic", "label_0") == [int(vote.choice == "a") for vote in chosen]
    assert lines("battles", "winner") == [f"model_{vote.choice}" for vote in chosen]
    wanted = [f"pictures/{getattr(vote, f'image_{vote.choice}')}.webp" for vote in chosen]
    assert lines("preferences", "chosen") == wanted
    with zipfile.ZipFile(folder / "pictures.zip") as bundle:
        assert set(wanted) <= set(bundle.namelist())


def test_the_sample_depends_on_the_seed_and_not_on_the_order_of_the_list(tmp_path):
    lines, file = [f"prompt {number}" for number in range(50)], tmp_path / "a.txt"

    def picked(lines, seed):
        file.write_text("\n".join(lines))
        prompts = Prompts(set="file", file=str(file), num=10)
        return [row.text for row in sample(prompts, 2, seed).analyzed]

    assert picked(lines, 1) == picked(lines[::-1], 1) != picked(lines, 2)


def test_a_blocked_word_keeps_a_prompt_out(tmp_path):
    file, extra = tmp_path / "a.txt", tmp_path / "words.txt"
    file.write_text("a NUDE portrait\na nudelsuppe\na car\na horse\u2028at rest")
    found = sample(Prompts(set="file", file=str(file), num=3), 0, 1)
    assert {row.text for row in found.analyzed} == {"a nudelsuppe", "a car", "a horse\u2028at rest"}
    assert found.num_blocked == 1
    extra.write_text("horse")
    with pytest.raises(ConfigError, match="which has 2"):
        sample(Prompts(set="file", file=str(file), num=3, blocked_words=str(extra)), 0, 1)


def test_the_papers_prompts_are_one_third_parti(tmp_path):
    parti = "".join(f"parti {n}\tArts\tBasic\t\n" for n in range(20))
    (tmp_path / "PartiPrompts.tsv").write_text(f"Prompt\tCategory\tChallenge\tNote\n{parti}")
    prompts = Prompts(set="paper", folder=str(tmp_path), num=30)
    with pytest.raises(MissingFile, match=r"anime\.json"):
        sample(prompts, 0, 1)
    for style in ("anime", "concept-art", "paintings", "photo"):
        (tmp_path / f"{style}.json").write_text(json.dumps([f"{style} {n}" for n in range(10)]))
    found = sample(prompts, 3, 1)
    sources = [row.source for row in found.analyzed]
    assert (sources.count("parti"), sources.count("hps"), len(found.extra)) == (10, 20, 3)
    assert "Arts" in {row.category for row in found.analyzed}
    assert not {row.text for row in found.extra} & {row.text for row in found.analyzed}


@pytest.mark.parametrize("num_extra", [0, 7])
def test_the_largest_sample_is_the_last_that_can_be_taken(num_extra):
    prompts = Prompts(set="own", split="test", num=1000)
    num = largest_num(prompts, num_extra)
    fitting = prompts.model_copy(update={"num": num})
    assert len(sample(fitting, num_extra, seed=0).analyzed) == num
    with pytest.raises(ConfigError):
        sample(prompts.model_copy(update={"num": num + 1}), num_extra, seed=0)
    few = prompts.model_copy(update={"num": num - 5})
    assert largest_num(few, num_extra) == few.num


def test_the_last_study_of_a_large_one_takes_the_whole_test_part():
    large = Recipe.load(RECIPE | {"prompts": {"set": "own", "split": "training", "num": 500}})
    last = last_recipe(large, [arm.model_dump() for arm in large.arms])
    num_extra = last.practice + num_check_prompts(last.checks_per_rater)
    assert last.prompts.split == "test"
    assert len(sample(last.prompts, num_extra, last.seed).analyzed) == last.prompts.num


def test_figure_3_compares_each_reward_with_its_own():
    arms = [{"name": f"{m}-{r}"} for m in ("rocm", "rlcm") for r in ("clip", "hps")]
    recipe = Recipe.load(RECIPE | {"arms": arms, "comparisons": "paper-figure-3"})
    assert recipe.compared() == [("rocm-clip", "rlcm-clip"), ("rocm-hps", "rlcm-hps")]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("completion_url", "javascript:alert(1)", "completion_url"),
        ("consent", {"version": "1"}, "consent.text"),
        ("main_per_rater", 99, "has only 12 pairs"),
        ("repeats_per_rater", 9, "larger by at least 10"),
        ("comparisons", [["base", "other"]], "comparisons name"),
        ("comparisons", "paper-figure-3", "needs arms rocm-REWARD"),
        ("arms", [{"name": "a"}, {"name": "a"}], "same name"),
        ("arms", [{"name": "a"}, {"name": "<b>"}], "arms.1.name"),
        ("arms", [{"name": "a"}, {"name": "lost", "adapter": "run:nothing"}], "Arm lost"),
    ],
)
def test_a_recipe_that_is_not_allowed_is_a_sentence(tmp_path, name, value, words):
    with pytest.raises((ConfigError, MissingFile), match=words):
        identified(tmp_path, Recipe.load(RECIPE | {name: value}))


def test_checks_show_pictures_of_all_arms(work):
    """Else a rater who recognizes a check would know who drew it."""
    build(work, Recipe.load(RECIPE | {"checks_per_rater": 5}))
    names = {row.id: row.name for row in rows(work.store, tables.arm)}
    checks = [row for row in rows(work.store, tables.pair) if row.kind == "check"]
    assert {names[row.arm_a] for row in checks} == {one["name"] for one in RECIPE["arms"]}
    assert {names[row.arm_b] for row in checks} == {"damaged"}
