"""The certificates that an Envoy's configuration asks for, as the two files that it names.

Envoy reads a file again when another one takes its place: new connections use what is new, those that stand go on.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from m4deploy.identity import Authority, write_private

IDENTITY, AUTHORITY = "identity.json", "authority.json"
_SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


def wanted(config: Any) -> dict[str, str]:
    """What a configuration, as plain data, wants to find in these files: the name of the secret by file."""
    return dict(_wanted(config))


def _wanted(config: Any) -> Iterator[tuple[str, str]]:
    if isinstance(config, list):
        for each in config:
            yield from _wanted(each)
    elif isinstance(config, dict):
        source = config.get("sds_config")
        if isinstance(source, dict):
            yield source["path_config_source"]["path"].removeprefix("./"), config["name"]
        for each in config.values():
            yield from _wanted(each)


def put(names: Mapping[str, str], folder: Path, authority: Authority) -> datetime.datetime | None:
    """Writes the files, with a new certificate; returns until when it need not be renewed. None: nothing is wanted."""
    if not names:
        return None
    identity = authority.issue(names[IDENTITY])
    trusted = {"trusted_ca": {"inline_string": authority.certificate}}
    own = {
        "certificate_chain": {"inline_string": identity.certificate},
        "private_key": {"inline_string": identity.key},
    }
    write_private(folder / AUTHORITY, _file(names[AUTHORITY], validation_context=trusted))
    write_private(folder / IDENTITY, _file(names[IDENTITY], tls_certificate=own))
    return identity.fresh_until


def _file(name: str, **secret: Any) -> str:
    return json.dumps({"resources": [{"@type": _SECRET, "name": name, **secret}]})
