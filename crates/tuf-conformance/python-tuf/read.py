"""Reads a repository that switchback-repo wrote, with python-tuf's client, over HTTP.

read.py REPOSITORY ROOT ARTIFACT... fetches each artifact as a device does and prints its digest.
"""

import functools
import hashlib
import http.server
import pathlib
import sys
import tempfile
import threading

from tuf.ngclient import Updater, UpdaterConfig

repository, root, *artifacts = sys.argv[1:]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


handler = functools.partial(Quiet, directory=repository)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"
with tempfile.TemporaryDirectory() as directory:
    updater = Updater(
        metadata_dir=directory,
        metadata_base_url=f"{base}/metadata/",
        target_dir=directory,
        target_base_url=f"{base}/targets/",
        config=UpdaterConfig(prefix_targets_with_hash=True),
        bootstrap=pathlib.Path(root).read_bytes(),
    )
    updater.refresh()
    for artifact in artifacts:
        info = updater.get_targetinfo(artifact)
        if info is None:
            sys.exit(f"{artifact}: python-tuf does not find it")
        path = updater.download_target(info)
        digest = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
        print(f"python-tuf read {artifact}: {digest}")
