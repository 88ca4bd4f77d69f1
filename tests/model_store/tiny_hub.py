"""The part of the Hugging Face hub's protocol that a pull speaks, on a local site."""

import hashlib
import json
from dataclasses import dataclass

from local_site import Page, Site
from tiny_models import sha256

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "someone/tiny"


@dataclass
class Hub:
    """A repository: small files in git, `lfs` ones stored by their SHA-256 behind a redirect to a second site."""

    site: Site
    store: Site

    def publish(self, files: dict[str, bytes], *, lfs: dict[str, bytes], revision: str = "main") -> None:
        siblings = [
            {"rfilename": name, "size": len(data), "blobId": git_sha1(data)} for name, data in files.items()
        ] + [
            {
                "rfilename": name,
                "size": len(data),
                "blobId": git_sha1(b"pointer"),
                "lfs": {"sha256": sha256(data), "size": len(data), "pointerSize": 134},
            }
            for name, data in lfs.items()
        ]
        info = {"_id": "1", "id": REPO, "modelId": REPO, "sha": COMMIT, "siblings": siblings}
        about = Page(json.dumps(info).encode(), headers={"Content-Type": "application/json"})
        self.site.put(f"/api/models/{REPO}/revision/{revision}", about)
        for name, data in files.items():
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{git_sha1(data)}"'}
            self.site.put(self.path(name), Page(data, headers=headers))
        for name, data in lfs.items():
            # Another host name than the hub's, as its content network has.
            where = self.store.put(f"/lfs/{sha256(data)}", data).replace("127.0.0.1", "localhost")
            linked = {"X-Linked-ETag": f'"{sha256(data)}"', "X-Linked-Size": str(len(data))}
            headers = {"X-Repo-Commit": COMMIT, "Location": where, **linked}
            self.site.put(self.path(name), Page(status=302, headers=headers))

    def refuse(self, code: str, *, revision: str = "main") -> None:
        page = Page(b"{}", status=404, headers={"X-Error-Code": code})
        self.site.put(f"/api/models/{REPO}/revision/{revision}", page)

    def path(self, name: str) -> str:
        return f"/{REPO}/resolve/{COMMIT}/{name}"


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
