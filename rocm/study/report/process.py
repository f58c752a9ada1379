"""The results process: one request as JSON on its command line, one answer as JSON in the last line
of its output.

The answer is {"error": ""} and the action's values, or {"error": "a sentence"}.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from rocm.errors import RocmError
from rocm.storage.progress import told_to
from rocm.study.archive.export import export
from rocm.study.archive.pack import pack
from rocm.study.archive.verify import verify
from rocm.study.report.stored import study_report
from rocm.study.store.pictures import Pictures
from rocm.study.store.store import Store


def answer(store: Store, pictures: Pictures, request: dict[str, str]) -> dict[str, Any]:
    """The answer to a request: `action`, `study` (an id), and `folder` for files.

    `report` writes the report and gives its content, `export` writes votes, pictures and the packed
    study, `verify` gives the faults.
    """
    study_id, folder = request["study"], Path(request.get("folder", ""))
    if request["action"] == "verify":
        return {"faults": verify(store, pictures, study_id)}
    if request["action"] == "export":
        question = store.study(study_id).config["primary_question"]
        export(store, pictures, study_id, folder, question)
        pack(store, pictures, study_id, folder / "study.zip", with_votes=True)
        return {}
    report = study_report(store, study_id)
    report.write(folder)
    return {"content": report.content(), "html": report.to_fragment()}


def main() -> None:
    """Answer the request of the command line in the last line, after lines of progress."""
    home = Path(os.environ["ROCM_HOME"])
    where = os.environ.get("DATABASE_URL") or home / "study.sqlite3"
    store = Store.open(where, creates=False)
    try:
        with told_to(_print_progress):
            result = answer(store, Pictures(home / "study-pictures"), json.loads(sys.argv[1]))
    except RocmError as error:
        result = {"error": str(error)}
    finally:
        store.close()
    sys.stdout.write(json.dumps({"error": "", **result}, allow_nan=False) + "\n")


def _print_progress(done: int, total: int) -> None:
    sys.stdout.write(json.dumps({"done": done, "total": total}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
