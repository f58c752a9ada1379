"""A server that speaks as much of the hub's protocol as its own library asks for, on loopback.

Serves folders as repositories, large files (`.safetensors`, `.parquet`) as the hub does, by sha256;
takes commits and jobs; refuses everything, or other tokens, if told to; counts the bytes of file
contents that it has sent.
"""

import base64
import hashlib
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".parquet")
ASKED = re.compile(
    r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)(/(?P<what>revision|tree|paths-info)"
    r"/(?P<revision>[^/]+)(?P<path>/.*)?)?"
)
RESOLVED = re.compile(
    r"/(?P<dataset>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)"
)


@dataclass
class Hub:
    """The repositories, by `models/owner/name` or `datasets/owner/name`; and what was asked."""

    folders: dict[str, Path] = field(default_factory=dict)
    url: str = ""
    sent: int = 0
    damaged: str = ""
    refusal: tuple[int, bytes] | None = None
    created: list[dict] = field(default_factory=list)
    committed: dict[str, bytes] = field(default_factory=dict)
    squashed: int = 0
    token: str = ""
    jobs: list[dict] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {"HF_ENDPOINT": self.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}

    def entry(self, folder: Path, file: Path) -> dict:
        content = file.read_bytes()
        entry = {
            "type": "file",
            "path": file.relative_to(folder).as_posix(),
            "size": len(content),
            "oid": hashlib.sha1(content).hexdigest(),
        }
        if file.suffix in LARGE:
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
        return entry


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_):
        pass

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        if self.hub.refusal:
            (status, content), headers = self.hub.refusal, {}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def answer_json(self, content: object) -> None:
        self.answer(200, json.dumps(content).encode(), Content_Type="application/json")

    def missing(self, code: str) -> None:
        self.answer(404, b"{}", X_Error_Code=code, X_Error_Message=code)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if self.hub.token and self.headers["Authorization"] != f"Bearer {self.hub.token}":
            self.answer(401, b"{}")
        elif path == "/api/whoami-v2":
            self.answer_json({"name": "ada", "type": "user"})
        elif path.endswith("/quota"):
            self.answer_json({"base": 300.0, "current": 252.0, "resetsAt": None})
        elif asked := ASKED.fullmatch(path):
            self.describe(**asked.groupdict())
        elif resolved := RESOLVED.fullmatch(path):
            self.serve(**resolved.groupdict())
        else:
            self.missing("RepoNotFound")

    def describe(self, kind, name, what, revision, path) -> None:
        folder = self.hub.folders.get(f"{kind}/{name}")
        if folder is None:
            return self.missing("RepoNotFound")
        if revision not in (None, "main", COMMIT):
            return self.missing("RevisionNotFound")
        files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
        entries = [self.hub.entry(folder, file) for file in files]
        if what == "tree":
            start = (path or "/")[1:]
            return self.answer_json([one for one in entries if one["path"].startswith(start)])
        siblings = [{"rfilename": one["path"]} for one in entries]
        return self.answer_json({"id": name, "sha": COMMIT, "siblings": siblings})

    def serve(self, dataset, name, revision, path) -> None:
        folder = self.hub.folders.get(f"{'datasets' if dataset else 'models'}/{name}")
        if folder is None:
            return self.missing("RepoNotFound")
        if revision not in ("main", COMMIT):
            return self.missing("RevisionNotFound")
        if not (folder / path).is_file():
            return self.missing("EntryNotFound")
        entry, content = self.hub.entry(folder, folder / path), (folder / path).read_bytes()
        if path == self.hub.damaged:
            content = content[:-1] + bytes([content[-1] ^ 1])
        etag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
        status, size = 200, str(len(content))
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(wanted[1]), int(wanted[2] or len(content) - 1)
            content, status = content[start : end + 1], 206
        if self.command != "HEAD":
            self.hub.sent += len(content)
        headers = {"ETag": f'"{etag}"', "X_Repo_Commit": COMMIT, "X_Linked_Size": size}
        if status == 206:
            headers["Content_Range"] = f"bytes {start}-{start + len(content) - 1}/{size}"
        return self.answer(status, content, Content_Length=str(len(content)), **headers)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        if path == "/api/repos/create":
            made = json.loads(content)
            self.hub.created.append(made)
            name = f"{made.get('organization') or 'somebody'}/{made['name']}"
            return self.answer_json({"url": f"{self.hub.url}/{name}", "id": name})
        if path.startswith("/api/jobs/"):
            self.hub.jobs.append(json.loads(content))
            made = {"id": "j1", "owner": {"id": "1", "name": "ada", "type": "user"}}
            return self.answer_json({**made, "createdAt": None, "status": {"stage": "RUNNING"}})
        if path == "/api/validate-yaml":
            return self.answer_json({"errors": [], "warnings": []})
        if "/super-squash/" in path:
            self.hub.squashed += 1
            return self.answer_json({})
        if "/preupload/" in path:
            files = [one["path"] for one in json.loads(content)["files"]]
            plan = [{"path": one, "uploadMode": "regular", "shouldIgnore": False} for one in files]
            return self.answer_json({"files": plan})
        if "/commit/" in path:
            name = path.removeprefix("/api/").partition("/commit/")[0]
            self.commit(self.hub.folders.get(name), content.decode().splitlines())
            name = name.removeprefix("models/")
            url = f"{self.hub.url}/{name}/commit/{COMMIT}"
            return self.answer_json({"success": True, "commitOid": COMMIT, "commitUrl": url})
        if asked := ASKED.fullmatch(unquote(path)):
            return self.paths_info(content, **asked.groupdict())
        return self.missing("RepoNotFound")

    def commit(self, folder, lines) -> None:
        """Note the files; where a folder serves the repository, change its files too."""
        if self.hub.refusal:
            return
        for one in map(json.loads, lines):
            value = one["value"]
            if one["key"] == "file":
                content = self.hub.committed[value["path"]] = base64.b64decode(value["content"])
                if folder:
                    (folder / value["path"]).write_bytes(content)
            elif one["key"] == "deletedFile" and folder:
                (folder / value["path"]).unlink()

    def paths_info(self, content, kind, name, what, revision, path) -> None:
        folder = self.hub.folders[f"{kind}/{name}"]
        found = [folder / one for one in json.loads(content)["paths"]]
        self.answer_json([self.hub.entry(folder, file) for file in found if file.is_file()])


@contextmanager
def serving():
    hub = Hub()
    handler = type("Handler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
