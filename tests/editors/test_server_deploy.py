"""Deploying as the server drives it: it asks where, validates, says what would change, and asks again."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_lsp
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pytest_lsp import ClientServerConfig, LanguageClient
from session_kit import TRUSTED, answering, begin, deploy
from views_kit import COMMAND, changed, opened

SPECS = Path(__file__).resolve().parents[2] / "specs"


@pytest_lsp.fixture(config=ClientServerConfig(server_command=COMMAND, client_factory=answering))
async def client(lsp_client: LanguageClient, workspace: Path) -> AsyncIterator[None]:
    (workspace / "even.m4").unlink()
    await begin(lsp_client, workspace, TRUSTED)
    yield
    await lsp_client.shutdown_session()


@pytest.mark.asyncio
async def test_the_whole_way_into_a_folder(client: LanguageClient, workspace: Path) -> None:
    uri, person = opened(client, workspace / "shop.m4"), client.person
    out = workspace / "out"
    person.answers = ["Into", "Show differences", "Deploy"]
    assert (await deploy(client, uri))["ok"] is True
    (where, offered), (first, _), (again, choices) = person.asked
    assert (where, offered) == ("M4: where to deploy mesh `shop`?", ["On this machine", f"Into {out}"])
    assert first == again == f"M4: deploy mesh `shop` into {out}? artifacts: 2 new"
    assert choices == ["Deploy", "Show differences", "Cancel"]
    ((name, text, _),) = person.shown
    assert name == "shop.diff"
    assert "mesh shop: 1 element for 3 services" in text and "+++ b/envoy/e/envoy.yaml" in text
    assert "x-tier" in (out / "envoy/e/envoy.yaml").read_text()
    assert client.messages[-1].message == "M4: mesh `shop` is deployed to `directory`"
    titles = [r.title for reports in client.progress_reports.values() for r in reports if hasattr(r, "title")]
    assert titles[-3:] == ["Planning", "Validating", "Deploying (directory)"]

    changed(client, uri, 2, (workspace / "shop.m4").read_text().replace("x-tier", "x-rank"))
    person.answers, person.asked = ["Into", "Cancel"], []
    assert await deploy(client, uri) == {
        "ok": False,
        "message": "not deployed, nothing changed",
        "text": "",
        "cancelled": True,
    }
    assert person.asked[-1][0].endswith("? artifacts: 1 changed")
    assert "x-rank" not in (out / "envoy/e/envoy.yaml").read_text()

    person.answers, person.asked = [], []
    assert (await deploy(client, uri))["cancelled"] is True, "who does not say where deploys nothing"
    assert len(person.asked) == 1
    person.answers = ["Deploy"]
    assert (await deploy(client, uri, "directory", str(out), "confirm"))["ok"] is True
    assert "x-rank" in (out / "envoy/e/envoy.yaml").read_text()
    person.answers, person.asked = ["Cancel"], []
    await deploy(client, uri, "directory", str(out), "confirm")
    assert person.asked[0][0].endswith("? the same artifacts are in force already")


@pytest.mark.asyncio
async def test_what_is_wrong_is_shown_and_nothing_changes(client: LanguageClient, workspace: Path) -> None:
    uri, person = opened(client, workspace / "shop.m4"), client.person
    changed(client, uri, 2, (workspace / "shop.m4").read_text().replace("r.SetHeader", "r.SetHaeder"))
    person.answers = ["Into", "Show problem"]
    found = await deploy(client, uri)
    assert found["ok"] is False
    assert re.match(
        r"not deployed, nothing changed: the workspace has errors \(unknown-name in .*shop.m4:13", found["message"]
    )
    assert person.asked[-1] == (f"M4: {found['message']}", ["Show problem"])
    ((name, _, at),) = person.shown
    assert name == "shop.m4"
    assert at is not None and at.start == types.Position(12, 6)
    assert not (workspace / "out").exists()


@pytest.mark.asyncio
async def test_a_folder_that_holds_something_else_is_refused_before_anybody_is_asked(
    client: LanguageClient, workspace: Path
) -> None:
    taken = workspace / "taken"
    taken.mkdir()
    (taken / "mine").write_text("")
    with pytest.raises(JsonRpcException, match=r"nothing changed: .*taken holds something else than a built mesh"):
        await deploy(client, (workspace / "shop.m4").as_uri(), "directory", str(taken), "confirm")
    assert client.person.asked == []
    assert [p.name for p in taken.iterdir()] == ["mine"]


@pytest.mark.asyncio
async def test_cancelling_the_progress_leaves_everything_as_it_was(client: LanguageClient, workspace: Path) -> None:
    uri, person = opened(client, workspace / "shop.m4"), client.person
    features = client.protocol.fm.features
    keep, seen = features[types.PROGRESS], []

    def progress(params: types.ProgressParams) -> None:
        keep(params)
        if isinstance(params.value, dict) and params.value.get("title") == "Validating":
            seen.append(params.value["cancellable"])
            client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams(params.token))

    features[types.PROGRESS] = progress
    found = await deploy(client, uri, "directory", str(workspace / "out"), "confirm")
    assert (found["ok"], found["message"], found["cancelled"]) == (False, "not deployed, nothing changed", True)
    assert seen == [True]
    assert person.asked == [], "nobody is asked about what was cancelled"
    assert not (workspace / "out").exists()
    features[types.PROGRESS] = keep
    person.answers = ["Deploy"]
    assert (await deploy(client, uri, "directory", str(workspace / "out"), "confirm"))["ok"] is True


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("right", "wrong", "code", "words"),
    [
        ("codec_type: AUTO", "codec_tipe: AUTO", "rejected-artifact", "Envoy rejects the configuration of e"),
        ("codec_type: AUTO", "codec_type: {{ listener.nothing }}", "", "a template of `envoy` fails for `e`"),
    ],
    ids=["rejected", "failing"],
)
async def test_the_line_of_a_template_is_shown(
    client: LanguageClient, workspace: Path, right: str, wrong: str, code: str, words: str
) -> None:
    shutil.copytree(SPECS / "envoy", workspace / "envoy")
    template = workspace / "envoy/envoy.yaml.j2"
    text = template.read_text()
    template.write_text(text.replace(right, wrong))
    uri, person = opened(client, workspace / "shop.m4"), client.person
    person.answers = ["Into", "Show problem"]
    found = await deploy(client, uri)
    assert found["ok"] is False
    assert found["message"].startswith(f"not deployed, nothing changed: {words}")
    assert code in found["text"] and "envoy/envoy.yaml.j2:" in found["text"]
    assert person.asked[-1] == (f"M4: {found['message']}", ["Show problem"])
    ((name, _, at),) = person.shown
    assert name == "envoy.yaml.j2"
    assert at is not None and wrong in template.read_text().splitlines()[at.start.line]
    assert not (workspace / "out").exists()

    if code:  # scripts get the same, without anybody to ask
        person.asked = []
        found = await deploy(client, uri, "local")
        assert found["ok"] is False and person.asked == []
        assert f"error[{code}]" in found["text"] and "envoy/envoy.yaml.j2:" in found["text"]
