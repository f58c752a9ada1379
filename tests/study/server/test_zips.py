import io
import json
import random
import struct
import zipfile
from hashlib import sha256

import pytest
from PIL import Image

from rocm.errors import MissingFile, StudyError
from rocm.study.archive import untrusted
from rocm.study.archive.pack import pack, unpack
from rocm.study.archive.verify import verify
from rocm.study.design import lifecycle
from rocm.study.design.manifest import canonical
from rocm.study.store.pictures import Pictures, encoded
from rocm.study.store.store import Store
from tests.study.server.conftest import fill
from tests.study.small import STUDY, rater, work


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    home = tmp_path_factory.mktemp("lab")
    store, pictures, zips = Store.open(home / "study.sqlite3"), Pictures(home / "pictures"), {}
    fill(store, home / "pictures")
    lifecycle.open_study(store, STUDY)
    for name in ("plain", "votes"):
        pack(store, pictures, STUDY, home / f"{name}.zip", with_votes=name == "votes")
        with zipfile.ZipFile(home / f"{name}.zip") as whole:
            zips[name] = {member: whole.read(member) for member in whole.namelist()}
        work(store, rater(store))
    store.close()
    return zips


def zipped(path, content, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as whole:
        for name, data in content.items():
            whole.writestr(name, data)
    return path


@pytest.fixture
def there(store, tmp_path):
    return store, Pictures(tmp_path / "there")


def stored(there):
    store, pictures = there
    files = sorted(pictures.folder.iterdir()) if pictures.folder.is_dir() else []
    return store.studies(), [(file.name, file.read_bytes()) for file in files]


def refusal(there, path, kind=StudyError, **options):
    """The sentence that a zip is refused with; nothing is stored."""
    before = stored(there)
    with pytest.raises(kind) as caught:
        unpack(*there, path, **options)
    assert stored(there) == before
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    return str(caught.value)


def changed(content, change):
    """The zip's texts after `change(study row, tables, manifest)`, hashes made anew."""
    document, manifest = json.loads(content["study.json"]), json.loads(content["manifest.json"])
    change(document["study"], document["tables"], manifest)
    text = canonical(manifest).encode()
    if text != content["manifest.json"]:
        new = {"config_json": text.decode(), "config_sha256": sha256(text).hexdigest()}
        document["study"] |= new
    return content | {"study.json": json.dumps(document).encode(), "manifest.json": text}


def first(table, **values):
    return lambda about, tables, manifest: tables[table][0].update(values)


HARMS = {
    "a missing column": (lambda a, t, m: t["pair"][0].pop("seed"), "row of table pair has other"),
    "an odd column": (first("pair", evil=1), "row of table pair has other columns"),
    "a missing table": (lambda a, t, m: t.pop("slot"), "its tables are not"),
    "a row that is no row": (lambda a, t, m: t.update(slot=[7]), "table slot has other columns"),
    "a study that is none": (lambda a, t, m: a.clear(), "table study has other columns"),
    "a flag for a number": (first("image", width=True), "image.width"),
    "nothing": (first("prompt", text=None), "prompt.text"),
    "a number too large": (first("image", seed=2**63), "image.seed"),
    "a zero byte": (first("prompt", text="a\0b"), "prompt.text"),
    "half a letter": (first("prompt", text="\ud800"), "prompt.text"),
    "a row twice": (lambda a, t, m: t["slot"].append(t["slot"][0]), "slot is there twice"),
    "a row of another study": (first("event", study_id="f" * 12), "is of another study"),
    "a row that is not there": (first("pair", prompt_id=999), "pair.prompt_id names a row"),
    "a rater where there are none": (first("event", rater_id=1), "event.rater_id names a row"),
    "an invitation to nobody": (first("event", kind="invited"), "event 'invited'"),
    "addresses without counts": (first("event", kind="addresses"), "event 'addresses'"),
    "an event that is no JSON": (first("event", data_json="{"), "no whole zip"),
    "a constraint": (first("question", position=-1), "does not fit together"),
    "a status that is none": (lambda a, t, m: a.update(is_demo=2), "does not fit together"),
    "another prompt": (first("prompt", text="another"), "not those of the manifest"),
    "sides swapped": (first("pair", kind="main", expected=None, target=2), "not those of the"),
    "a link to a script": (lambda a, t, m: m.update(completion_url="javascript:alert(1)"), "_url"),
    "no consent": (lambda a, t, m: m.update(consent={"version": "1"}), "consent"),
    "no design": (lambda a, t, m: m.update(design={}), "has no whole design"),
    "a text for a lease": (lambda a, t, m: m["design"].update(lease_minutes="15"), "another kind"),
    "another id": (lambda a, t, m: m.update(study="f" * 12), "not those of the manifest"),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMS)
def test_rows_that_no_pack_writes_are_one_sentence(packed, there, tmp_path, name):
    change, words = HARMS[name]
    bad = zipped(tmp_path / "bad.zip", changed(packed["plain"], change))
    assert words in refusal(there, bad)


OF_VOTES = {
    "a vote on the other arm": lambda a, t, m: t["vote"][0].update(
        choice={"a": "b", "b": "a"}[t["vote"][0]["choice"]]
    ),
    "a vote too few": lambda a, t, m: t["vote"].pop(),
    "a vote twice": lambda a, t, m: t["vote"].append(t["vote"][0] | {"id": 10_000}),
    "another place": lambda a, t, m: [one.update(issued=0) for one in t["pair"]],
    "a score that is no number": lambda a, t, m: t["score"][0].update(value=float("nan")),
    "a rater without consent": first("rater", consented_at=None, consent_version=None),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_VOTES)
def test_votes_that_do_not_hold_are_one_sentence(packed, there, tmp_path, name):
    refusal(there, zipped(tmp_path / "bad.zip", changed(packed["votes"], OF_VOTES[name])))


def picture_names(content):
    return [name for name in content if name.startswith("pictures/")]


ZIPS = {
    "a picture missing": lambda c: {n: d for n, d in c.items() if n != picture_names(c)[0]},
    "no study": lambda c: {n: d for n, d in c.items() if n != "study.json"},
    "no manifest": lambda c: {n: d for n, d in c.items() if n != "manifest.json"},
    "a picture of another": lambda c: c | {picture_names(c)[0]: c[picture_names(c)[-1]]},
    "a file too many": lambda c: c | {"pictures/index.html": b"<script>"},
    "a path": lambda c: c | {"../evil.webp": c[picture_names(c)[0]]},
    "a manifest that is not hashed": lambda c: c | {
        "manifest.json": c["manifest.json"].replace(b'"seed":1', b'"seed":4')
    },
    **{f"a study {text[:9]}": lambda c, text=text: c | {"study.json": text}
       for text in (b"[" * 100_000, b"[]", b"7", b"{", b"\xff", b'{"tables": {}}')},
}  # fmt: skip


@pytest.mark.parametrize("name", ZIPS)
def test_a_zip_of_other_files_is_one_sentence(packed, there, tmp_path, name):
    content = ZIPS[name](packed["plain"])
    assert content != packed["plain"]
    refusal(there, zipped(tmp_path / "bad.zip", content))


def test_a_missing_file_and_a_zip_that_could_swell_are_one_sentence(packed, there, tmp_path):
    path = zipped(tmp_path / "good.zip", packed["plain"])
    refusal(there, path, MissingFile, key_from=tmp_path / "absent.json")
    refusal(there, tmp_path / "absent.zip", MissingFile)
    refusal(there, zipped(tmp_path / "bomb.zip", packed["plain"], zipfile.ZIP_DEFLATED))


def riff(*chunks):
    body = b"WEBP" + b"".join(
        name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
        for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def lossless(size):
    return encoded(Image.new("RGB", size))


WHOLE = lossless((64, 64))
HUGE = WHOLE[:21] + struct.pack("<I", 12_999 | 12_999 << 14) + WHOLE[25:]  # so says its head
NOISE = encoded(Image.frombytes("RGB", (64, 64), random.Random(0).randbytes(64 * 64 * 3)))


def saved(kind, **options):
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, kind, **options)
    return file.getvalue()


PICTURES = {
    "a PNG": (saved("PNG"), 64, "no lossless WebP"),
    "a page": (b"<script>alert(1)</script>", 64, "no lossless WebP"),
    "nothing": (b"", 64, "no lossless WebP"),
    "loss": (saved("WEBP"), 64, "no lossless WebP"),
    "EXIF": (saved("WEBP", lossless=True, exif=b"Exif\0\0x"), 64, "no lossless WebP"),
    "words": (riff((b"VP8L", WHOLE[20:]), (b"XMP ", b"tiny")), 64, "followed by something else"),
    "half of the pixels": (riff((b"VP8L", NOISE[20 : len(NOISE) // 2])), 64, "cannot be decoded"),
    "pixels that are none": (riff((b"VP8L", b"\x2f" + b"\0" * 40)), 64, "picture"),
    "another size": (lossless((65, 64)), 64, "not as its row says"),
    "169 million pixels": (HUGE, 13_000, "13000 x 13000"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_decoded_before_a_rater_gets_it(packed, there, tmp_path, name):
    content, size, words = PICTURES[name]
    row = {"sha256": sha256(content).hexdigest(), "width": size, "height": size}
    picture = json.loads(packed["plain"]["study.json"])["tables"]["image"][0]["picture_id"]
    bad = changed(packed["plain"], first("image", **row)) | {f"pictures/{picture}.webp": content}
    found = refusal(there, zipped(tmp_path / "bad.zip", bad))
    assert words in found
    assert picture in found


def test_no_byte_of_a_zips_own_words_can_be_changed(packed, there, tmp_path):
    good = zipped(tmp_path / "good.zip", packed["plain"])
    data, dice, bad = good.read_bytes(), random.Random(0), tmp_path / "bad.zip"
    heads = [at for at in range(len(data)) if data[at : at + 2] == b"PK"]
    refused = []
    for _ in range(150):
        at = dice.choice(heads) + dice.randrange(46)
        bad.write_bytes(data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :])
        try:
            assert untrusted.read(bad) == untrusted.read(good)
        except StudyError as error:
            refused.append(str(error))
    assert len(refused) > 50
    assert "\n" not in "".join(refused)


def test_files_that_lie_in_each_other_are_refused(packed, there, tmp_path):
    """A stored zip of a few kB can stand for gigabytes if its entries share their bytes."""
    good, bad = zipped(tmp_path / "good.zip", packed["plain"]), tmp_path / "bad.zip"
    with zipfile.ZipFile(good) as whole:
        start, size = whole.start_dir, max(one.file_size for one in whole.infolist())
    data = good.read_bytes()
    entries = bytearray(data[start:])
    for name in picture_names(packed["plain"]):
        at = entries.index(b"PK\x01\x02", entries.index(name.encode()) - 46)
        struct.pack_into("<II", entries, at + 20, 40 * size, 40 * size)
    bad.write_bytes(data[:start] + entries)
    assert "larger than it may be" in refusal(there, bad)


def test_no_picture_of_another_study_is_replaced(packed, there, tmp_path):
    unpack(*there, zipped(tmp_path / "good.zip", packed["plain"]))
    mine, other = picture_names(packed["plain"])[0], lossless((64, 64))

    def swap(about, tables, manifest):
        about["id"] = manifest["study"] = "f" * 12
        for row in (row for rows in tables.values() for row in rows):
            row["study_id"] = "f" * 12
            if row.get("picture_id") == mine[9:-5]:
                row["sha256"] = sha256(other).hexdigest()

    bad = changed(packed["plain"] | {mine: other}, swap)
    assert "is here already" in refusal(there, zipped(tmp_path / "bad.zip", bad))
    assert there[1].file(mine[9:-5]).read_bytes() == packed["plain"][mine]


def test_the_same_zip_brings_lost_pictures_back_and_leaves_the_votes(packed, there, tmp_path):
    store, pictures = there
    whole = changed(packed["votes"], lambda about, tables, manifest: None)
    good = zipped(tmp_path / "good.zip", whole)
    unpack(*there, good)
    votes = store.votes(STUDY)
    assert len(votes) == len(json.loads(whole["study.json"])["tables"]["vote"]) > 0
    for file in pictures.folder.iterdir():
        file.unlink()
    assert unpack(*there, zipped(tmp_path / "plain.zip", packed["plain"])) == STUDY
    assert store.votes(STUDY) == votes
    assert verify(*there, STUDY) == []
