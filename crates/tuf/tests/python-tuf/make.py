"""Writes the files beside this script: metadata by an implementation other than ours.

Keys of all three kinds, thresholds of three, and strings that canonical JSON must leave as they
are. Needs tuf 7.0.0 and securesystemslib[crypto] 1.4.0.

    python make.py DIRECTORY
"""

import sys
from datetime import datetime, timezone
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    MetaFile,
    Metadata,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

EXPIRES = datetime(2040, 1, 1, tzinfo=timezone.utc)
HASHES = ["sha256", "sha512"]
PATH = "releases/gw/1.0/release.json"

out = Path(sys.argv[1])
signers = [
    CryptoSigner.generate_ed25519(),
    CryptoSigner.generate_ecdsa(),
    CryptoSigner.generate_rsa(size=2048),
]
release_signer = CryptoSigner.generate_ecdsa()


def write(name, signed, by):
    metadata = Metadata(signed)
    for signer in by:
        metadata.sign(signer, append=True)
    content = metadata.to_bytes(JSONSerializer(compact=False))
    (out / name).write_bytes(content)
    return MetaFile.from_data(signed.version, content, HASHES)


release = Targets(expires=EXPIRES)
release.targets[PATH] = TargetFile.from_data(PATH, b"foreign artifact\n", HASHES)
release.targets[PATH].unrecognized_fields["custom"] = {"ü": "€"}
release_meta = write("1.release.json", release, [release_signer])

targets = Targets(expires=EXPIRES)
delegation = DelegatedRole("release", [], 1, True, paths=["releases/*/*/*"])
targets.delegations = Delegations({}, {"release": delegation})
targets.add_key(release_signer.public_key, "release")
targets_meta = write("1.targets.json", targets, signers)

snapshot = Snapshot(
    expires=EXPIRES, meta={"targets.json": targets_meta, "release.json": release_meta}
)
snapshot_meta = write("1.snapshot.json", snapshot, signers)
write("timestamp.json", Timestamp(expires=EXPIRES, snapshot_meta=snapshot_meta), signers)

root = Root(consistent_snapshot=True, expires=EXPIRES)
for role in ("root", "timestamp", "snapshot", "targets"):
    for signer in signers:
        root.add_key(signer.public_key, role)
    root.roles[role].threshold = 3
root.unrecognized_fields["x-note"] = {
    "text": 'ünï "quoted" back\\slash \n tab\t \u0001 \u2028 \U0001f600',
    "n": [-1, 0, 12345678901234],
    "z": None,
    "t": True,
}
write("1.root.json", root, signers)
root.version = 2
write("2.root.json", root, signers)
