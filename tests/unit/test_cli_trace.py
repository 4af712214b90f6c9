"""`m4 trace` beside requests: connections, states, marks, answers; and what it says to options that it cannot use."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_kit import hold, m4, shop

POLICIES = """\
state Counter hits;
state TokenBucket limiter(rate: 100/s, burst: 20) per r.peer;

policy label    (HttpRequest r)   on outside -> web when r.header["x-group"] == "beta" { r.Mark("beta"); }
policy patient  (HttpRequest r)   on * -> db when r.mark["beta"] { r.SetTimeout(5s); }
policy limited  (HttpRequest r)   on * -> cart at ingress when !limiter.Take() { r.DropRequest(429); }
policy counted  (HttpRequest r)   on * -> cart at ingress { hits.Increment(); }
policy no_shell (TcpConnection c) on ? -> db when c.port == 22 { c.DropConnection(); }
policy proven   (TcpConnection c) on ? -> db { c.RequireIdentity(); }
policy broken   (HttpResponse p)  on * -> db when p.status >= 500 { p.SetHeader("x-retry", "no"); }
policy told     (HttpResponse p)  on * -> cart when p.request.method == "PUT" { p.SetHeader("x-was", "put"); }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shop(tmp_path, POLICIES)


def test_marks_are_shown_where_they_are_carried(folder: Path) -> None:
    done = m4("trace", folder, "--path", "web,cart,db", "--header", "X-Group=beta")
    assert done.code == 0
    assert done.out == (
        "limiter.Take answers yes\n"
        "outside -> web\n"
        "    fired: label\n"
        '    mark["beta"] = true\n'
        "web -> cart\n"
        '    carries mark["beta"] = true\n'
        "    fired: counted\n"
        "    hits.tally = 1\n"
        "cart -> db\n"
        '    carries mark["beta"] = true\n'
        "    TcpConnection\n"
        "        fired: proven\n"
        "        mutual_tls = true\n"
        "    fired: patient\n"
        "    timeout = 5s\n"
        "reaches the last service\n"
        "HttpResponse on cart -> db\n"
        "    fired: none\n"
        "HttpResponse on web -> cart\n"
        "    fired: none\n"
        "HttpResponse on outside -> web\n"
        "    fired: none\n"
    )


def test_a_state_that_says_no(folder: Path) -> None:
    done = m4("trace", folder, "--path", "web,cart,db", "--state", "limiter.Take=false", "--format", "json").json
    assert done["states"] == {"limiter.Take": False}
    assert (done["verdict"], done["status"], len(done["hops"])) == ("deny", 429, 2)
    assert done["hops"][1]["writes"] == {"hits.tally": "1", "status": "429", "verdict": "deny"}
    assert done["answers"] == []


def test_states_of_other_paths_are_not_named(folder: Path) -> None:
    assert "limiter" not in m4("trace", folder, "--path", "outside,web").out


def test_a_connection_by_itself_and_as_what_carries_a_request(folder: Path) -> None:
    alone = m4(
        "trace", folder, "--path", "web,cart,db", "--entity", "TcpConnection", "--set", "port=22", "--format", "json"
    )
    assert [h["fired"] for h in alone.json["hops"]] == [[], ["no_shell", "proven"]]
    assert alone.json["verdict"] == "deny"
    carrying = m4("trace", folder, "--path", "web,cart,db", "--set", "TcpConnection.port=22", "--format", "json").json
    hop = hold(carrying, "trace")["hops"][-1]
    assert (carrying["entity"], carrying["verdict"], carrying["status"]) == ("HttpRequest", "deny", None)
    assert (hop["fired"], [c["fired"] for c in hop["carriers"]]) == ([], [["no_shell", "proven"]])
    assert hop["carriers"][0]["writes"] == {"verdict": "deny"}
    text = m4("trace", folder, "--path", "web,cart,db", "--set", "TcpConnection.port=22").out
    assert "    verdict = deny: its TcpConnection is denied\nended on cart -> db\n" in text


def test_answers_on_the_way_back(folder: Path) -> None:
    args = ("trace", folder, "--path", "web,cart,db", "--method", "PUT", "--format", "json")
    done = hold(m4(*args, "--answer", "status=503").json, "trace")
    assert [(a["hop"], a["fired"]) for a in done["answers"]] == [
        (["cart", "db"], ["broken"]),
        (["web", "cart"], ["told"]),
        (["outside", "web"], []),
    ]
    assert done["answers"][0]["writes"] == {'header["x-retry"]': "no"}
    same = m4(*args, "--set", "HttpResponse.status=503").json
    assert same == done
    assert m4(*args, "--answer", "status=200").json["answers"][0]["fired"] == []


def test_settings_are_typed_as_in_the_language(folder: Path) -> None:
    args = ("trace", folder, "--path", "web,cart,db", "--format", "json")
    done = m4(*args, "--set", 'mark["beta"]=true', "--set", "timeout = 1s", "--set", 'header[ "X-A" ]=a=b]').json
    assert done["hops"][-1]["fired"] == ["patient"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--set metod=PUT", "no attribute of HttpRequest is named `metod`; did you mean `method`?"),
        ("--set method=put", 'method is string in r"[A-Z]+", and `put` does not match'),
        ("--method put", "--method put: method is"),
        ("--set header=x", "`header` needs a key"),
        ("--set peer[x]=y", "`peer` takes no key"),
        ("--set header[host]=x", '`header["host"]` can be neither read nor written'),
        ("--set header[x]", "--set takes ATTRIBUTE=VALUE or ATTRIBUTE[KEY]=VALUE, not `header[x]`"),
        ("--set =x", "--set takes ATTRIBUTE=VALUE"),
        ("--set timeout=soon", "expected a duration, found the name `soon`"),
        ("--set timeout=1s;expect", "`1s;expect` is not a value of duration"),
        ("--set url_path=/x", "set `target`"),
        ("--set Mail.subject=x", "no state, or entity that goes with a HttpRequest, is named `Mail`"),
        ("--set TcpConnection.prt=1", "no attribute of TcpConnection is named `prt`; did you mean `port`?"),
        ("--set hits.tally=1", "`hits.tally` is what comes out of a request, not what goes in"),
        ("--set limiter.Take=false", "`limiter` is a state; say --state limiter.Take=false"),
        ("--header x", "--header takes NAME=VALUE, not `x`"),
        ("--state limiter.Tke=true", "`limiter` has no condition like this; it has `Take`"),
        ("--state hits.Take=true", "`hits` has no condition like this; it has none"),
        ("--state limitr.Take=true", "no state is named so; did you mean `limiter.Take`?"),
        ("--state limiter.Take=no", "--state takes STATE.CONDITION=true or =false, not `limiter.Take=no`"),
        ("--state limiter", "--state takes STATE.CONDITION=VALUE, not `limiter`"),
        ("--answer stats=1", "no attribute of HttpResponse is named `stats`; did you mean `status`?"),
        ("--answer HttpResponse.status=1", "--answer takes ATTRIBUTE=VALUE"),
        ("--entity TcpConnection --answer status=1", "nothing answers a TcpConnection"),
        ("--entity TcpConnection --header x=y", "no attribute of TcpConnection is named `header`"),
        ("--entity HttpRequst", "no entity is named `HttpRequst`; did you mean `HttpRequest`?"),
        ("--entity Counter", "no entity is named `Counter`"),
        ("--entity HttpResponse", "a HttpResponse only comes back for a HttpRequest: trace that, with --answer"),
    ],
)
def test_what_cannot_be_set(folder: Path, options: str, message: str) -> None:
    done = m4("trace", folder, "--path", "web,cart", *options.split(" "))
    assert (done.code, done.out) == (2, "")
    assert message in done.err


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("web,crt", "the graph has no service `crt`; did you mean `cart`?"),
        ("web,cart,db:v3", "`db` has no version `v3`; it has `v1`, `v2`"),
        ("web,cart:v1", "`cart` has no version `v1`; it has none"),
        ("web,cart,db:", "`db` has no version ``"),
        ("web,db", "the graph has no call from `web` to `db`; `web` calls `cart`"),
        ("outside,cart", "`cart` is no entry"),
        ("cart,db", "`cart` never starts a request by itself"),
        ("outside", "a call path names at least one service"),
    ],
)
def test_what_is_no_path(folder: Path, path: str, message: str) -> None:
    done = m4("trace", folder, "--path", path)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_what_is_traced_when_nobody_says(tmp_path: Path) -> None:
    """What a request is, if policies are about it or what goes with it; else what they are about."""
    connection = "policy p (TcpConnection c) on ? -> cart { c.RequireIdentity(); }\n"
    folder = shop(tmp_path, connection)
    assert m4("trace", folder, "--path", "web,cart", "--format", "json").json["entity"] == "HttpRequest"
    mail = "entity Mail { attribute subject: string; operation Sign(by: string) writes subject = by; }\n"
    mail += 'policy p (Mail m) on * -> cart { m.Sign("us"); }\n'
    folder = shop(tmp_path, mail)
    done = m4("trace", folder, "--path", "web,cart", "--format", "json").json
    assert (done["entity"], done["hops"][-1]["writes"]) == ("Mail", {"subject": "us"})
