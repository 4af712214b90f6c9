"""Every operation of requests that the proxies have, through real ones: what it does, under which conditions, and
what it does beside others."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from envoy_kit import Bench, Client, Reply, compare, drop, rule, set_header, site

Json = dict[str, Any]
TAG = "m4-ctx"
ALWAYS = 10_000
MILLISECOND = 1_000_000
EARLY = 0.9  # of a time that is waited for: Envoy's timers and the clock of the tests are not the same
DELAYED = 2 * EARLY  # seconds that a delay of 2s takes at least


def want(value: str) -> Json:
    """The condition that a request asks for this."""
    return compare("==", value, "want")


def asks(value: str) -> list[tuple[str, str | bytes]]:
    return [("want", value)]


def timed(client: Client, *args: Any, **more: Any) -> tuple[Reply, float]:
    begin = time.monotonic()
    return client.send(*args, **more), time.monotonic() - begin


# --- answers of Envoy's own -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("location", ["/new", "https://shop.example/a?b=c#d", "/100%25?x=%REQ(want)%&q={a}'\"\\"])
def test_redirects(bench: Bench, location: str) -> None:
    here = rule(0, "Redirect", {"location": location, "status": 308}, want("moved"))
    found = rule(1, "Redirect", {"location": location}, want("found"))
    (client,) = bench.sites(site("ingress", "outside", [here, found]))
    for asked, status in (("moved", 308), ("found", 302)):
        reply = client.send("/old?x", asks(asked), method="POST", body=b"some body")
        assert (reply.status, reply.header("location"), reply.body) == (status, location, b"")
        assert reply.header("x-m4-answered-by") == bench.dataplane
    reply = client.send("/old?x")
    assert (reply.status, reply.header("location"), reply.seen.start[1]) == (200, None, "/old?x")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, "pong", "text/plain"),
        (503, '{"é😀": "%REQ(want)%", "a": "\\\\n\'{{ 7 }}"}', "application/json"),
        (404, "", "text/html; charset=utf-8"),
        (418, "x" * 20_000, "text/plain"),
    ],
)
def test_answers(bench: Bench, status: int, body: str, kind: str) -> None:
    answer = rule(0, "Respond", {"status": status, "body": body, "content_type": kind}, want("it"))
    (client,) = bench.sites(site("egress", "db", [answer]))
    for method in ("GET", "PUT"):
        reply = client.send("/", asks("it"), method=method)
        assert (reply.status, reply.body.decode(), reply.header("content-type")) == (
            status,
            body,
            kind if body else None,
        )
        assert reply.header("x-m4-answered-by") == bench.dataplane
    reply = client.send("/", asks("other"))
    assert (reply.status, reply.header("x-m4-answered-by"), reply.seen.start) == (200, None, ["GET", "/"])


def test_what_ends_a_request_leaves_nothing_of_the_rest(bench: Bench) -> None:
    """Rule 5 of the language, for each way to end a request and all that would show beside it."""
    callee, shadow = bench.scripted(), bench.scripted()
    others = [
        set_header(10, "x-seen", "1"),
        rule(11, "Mirror", {"to": "shadow", "share": ALWAYS}),
        rule(12, "Delay", {"time": 2_000 * MILLISECOND, "share": ALWAYS}),
        rule(13, "Abort", {"status": 500, "share": ALWAYS}, want("abort")),
        rule(14, "LogSample", {"share": ALWAYS}),
        rule(15, "Retry", {"attempts": 3}),
    ]
    others = [r for r in others if bench.can(r)]
    ends = [
        rule(0, "Redirect", {"location": "/new"}, want("redirect")),
        rule(1, "Respond", {"status": 503}, want("respond")),
        drop(2, want("deny")),
    ]
    (client,) = bench.sites(
        site("ingress", "web", [*others, *ends]), callee=callee.address, services={"shadow": shadow.address}
    )
    for asked, status in (("redirect", 302), ("respond", 503), ("deny", 403)):
        reply, took = timed(client, "/", [*asks(asked), ("x-m4-ended", "0")])
        assert reply.status == status
        assert took < DELAYED
    callee.expect(0)
    shadow.expect(0)
    assert '"policy"' not in bench.output
    reply, took = timed(client, "/", asks("abort"))
    assert reply.status == 500
    assert took >= DELAYED
    reply, took = timed(client, "/", [("x-m4-ended", "1")])
    assert reply.status == 200, "a request cannot claim that it has ended"
    assert took >= DELAYED
    copied = bench.dataplane == "envoy"
    for message in callee.expect(1) + shadow.expect(1 if copied else 0):
        assert message.header("x-seen") == "1"
    assert len(bench.logged(2)) == 2


# --- what is sent on ------------------------------------------------------------------------------------------------


def test_values_are_appended_behind_everything(bench: Bench) -> None:
    rules = [
        rule(0, "AppendHeader", {"name": "Via", "value": "1.1 100%%, é"}),
        rule(1, "AppendHeader", {"name": "via", "value": "two"}, compare("exists", True, "via")),
        set_header(2, "via", "set", want("set")),
        rule(3, "RemoveHeader", {"name": "VIA"}, want("remove")),
        set_header(4, "x-via", "both", compare("contains", "1.1", "via")),
        rule(5, "AppendHeader", {"name": "x-forwarded-proto", "value": "mesh"}),
    ]
    (client,) = bench.sites(site("egress", "db", rules))

    def via(*headers: tuple[str, str | bytes]) -> str | None:
        seen = client.send("/", headers).seen
        assert seen.header("x-via") is None, "no condition of the hop sees what it appends"
        assert (seen.header("x-forwarded-proto") or "").split(",")[-1] == "mesh"
        value = seen.header("via")
        return None if value is None else value.encode("latin-1").decode()

    one = "1.1 100%%, é"
    assert via() == one
    assert via(("via", "0")) == f"0,{one},two"
    assert via(("via", "0"), ("Via", "a"), ("x-forwarded-proto", "https")) == f"0,a,{one},two"
    assert via(("via", "0"), *asks("set")) == f"set,{one},two"
    assert via(*asks("set")) == f"set,{one}"
    assert via(("via", "0"), *asks("remove")) == f"{one},two"


def test_headers_are_removed(bench: Bench) -> None:
    rules = [
        rule(0, "RemoveHeader", {"name": "X-Secret"}, {"kind": "not", "of": compare("==", "1", "keep")}),
        set_header(1, "had-secret", "1", compare("exists", True, "x-secret")),
        rule(2, "RemoveHeader", {"name": "x-forwarded-proto"}),
    ]
    (client,) = bench.sites(site("egress", "db", rules))
    removed = client.send("/", [("x-secret", "a"), ("X-Secret", "b"), ("x-forwarded-proto", "https")]).seen
    kept = client.send("/", [("x-secret", "a"), ("keep", "1")]).seen
    assert [(s.header("x-secret"), s.header("had-secret")) for s in (removed, kept)] == [(None, "1"), ("a", "1")]
    assert removed.header("x-forwarded-proto") is None


@pytest.mark.parametrize("to", ["/", "/new?x=%41&y", "//a/../b/\"'\\{}%REQ(want)%", "/cart#top"])
def test_targets_are_rewritten(bench: Bench, to: str) -> None:
    rules = [
        rule(0, "RewriteTarget", {"to": to}, want("it")),
        set_header(1, "x-old", "1", compare("==", "/old?id=7", attribute="target")),
        set_header(2, "x-new", "1", compare("==", to, attribute="target")),
        set_header(3, "x-path", "1", compare("==", "/old", attribute="url_path")),
        drop(4, compare("==", "/forbidden", attribute="target")),
    ]
    (client,) = bench.sites(site("egress", "db", rules))
    for asked, target in (("it", to), ("no", "/old?id=7")):
        seen = client.send("/old?id=7", asks(asked)).seen
        assert seen.start == ["GET", target]
        assert seen.headers == [("host", "test"), ("want", asked), ("x-old", "1"), ("x-path", "1")]
    assert client.send("/forbidden", asks("it")).status == 403


def test_a_rewritten_target_does_not_change_the_route(bench: Bench) -> None:
    by_target = rule(0, "Split", {"versions": {"v1": 0, "v2": ALWAYS}}, compare("==", "/two", attribute="target"))
    otherwise = {"kind": "not", "of": compare("==", "/two", attribute="target")}
    rest = rule(1, "Split", {"versions": {"v1": ALWAYS, "v2": 0}}, otherwise)
    swap = [rule(2, "RewriteTarget", {"to": "/one"}, compare("==", "/two", attribute="target"))]
    swap += [rule(3, "RewriteTarget", {"to": "/two"}, compare("==", "/one", attribute="target"))]
    (client,) = bench.sites(site("egress", "db", [by_target, rest, *swap], versions=["v1", "v2"]))
    for target, version, sent in (("/two", "v2", "/one"), ("/one", "v1", "/two"), ("/x", "v1", "/x")):
        reply = client.send(target)
        assert (reply.version, reply.seen.start[1]) == (version, sent)


def test_hosts_are_rewritten(bench: Bench) -> None:
    rules = [
        rule(0, "SetHost", {"to": "Cart.internal:8080"}, want("it")),
        set_header(1, "x-was-test", "1", compare("==", "test", attribute="target_host")),
        set_header(2, "x-is-cart", "1", compare("starts_with", "Cart", attribute="target_host")),
    ]
    (client,) = bench.sites(site("egress", "db", rules))
    for asked, host in (("it", "Cart.internal:8080"), ("no", "test")):
        seen = client.send("/", [*asks(asked), ("x-m4-host", "evil")]).seen
        passed = [(k, v) for k, v in seen.headers if k != "x-m4-host"]  # Envoy takes it for its own, and away
        assert sorted(passed) == [("host", host), ("want", asked), ("x-was-test", "1")]


# --- copies ---------------------------------------------------------------------------------------------------------


def test_copies_are_what_the_callee_gets(envoy: Bench) -> None:
    callee, shadow, audit = envoy.scripted(), envoy.scripted(), envoy.scripted(503, None, 30.0)
    rules = [
        rule(0, "Mirror", {"to": "shadow", "share": ALWAYS}, want("both")),
        rule(1, "Mirror", {"to": "audit", "share": ALWAYS}, compare("in", ["both", "audit"], "want")),
        set_header(2, "x-set", "1"),
        rule(3, "RewriteTarget", {"to": "/new"}),
        rule(4, "SetHost", {"to": "cart.internal"}),
    ]
    tags = {"map": [], "otherwise": 5}
    (client,) = envoy.sites(
        site("ingress", "web", rules, tags=tags),
        callee=callee.address,
        services={"shadow": shadow.address, "audit": audit.address},
    )
    own = [("x-own", "é"), ("x-forwarded-for", "10.0.0.1"), ("x-m4-forwarded-for", "10.0.0.2")]
    reply = client.send("/old?x", [*asks("both"), *own], method="POST", body=b"some body")
    assert reply.status == 200
    (seen,), (copy,), (other,) = callee.expect(1), shadow.expect(1), audit.expect(1)
    assert (seen.start, seen.body, seen.header("host")) == (["POST", "/new"], b"some body", "cart.internal")
    assert seen.header(TAG) == "0005"
    unmarked = sorted((k, v) for k, v in seen.headers if k not in (TAG, "x-m4-forwarded-for"))
    for message in (copy, other):
        assert (message.start, sorted(message.headers), message.body) == (seen.start, unmarked, seen.body)
    for _ in range(2):  # the other one hangs up, and then is slow
        reply, took = timed(client, "/", asks("audit"))
        assert reply.status == 200
        assert took < 20
    audit.expect(2)
    client.send("/", [*asks("none"), *own])
    shadow.expect(0)
    audit.expect(0)


def test_copies_go_to_who_is_not_there(envoy: Bench) -> None:
    callee = envoy.scripted()
    mirror = rule(0, "Mirror", {"to": "shadow", "share": ALWAYS})
    (client,) = envoy.sites(site("ingress", "web", [mirror]), callee=callee.address, services={"shadow": "127.0.0.1:1"})
    assert client.send().status == 200
    callee.expect(1)


# --- shares ---------------------------------------------------------------------------------------------------------


def drawn(count: int, of: int, share: float) -> bool:
    """Whether a share of draws is as near to what is expected as it is but once in a million runs."""
    return abs(count - of * share) <= spread(of, share)


def spread(of: int, share: float) -> float:
    """Five standard deviations of how many are drawn."""
    return float(5 * (of * share * (1 - share)) ** 0.5)


def test_shares_are_drawn(bench: Bench) -> None:
    callee, shadow = bench.scripted(), bench.scripted()
    rules = [
        rule(0, "Mirror", {"to": "shadow", "share": 2500}, want("mirror")),
        rule(1, "Abort", {"status": 418, "share": 7000}, want("abort")),
        rule(2, "LogSample", {"share": 4000}, want("log")),
        rule(3, "Delay", {"time": 500 * MILLISECOND, "share": 5000}, want("delay")),
        rule(4, "Abort", {"status": 500, "share": 0}),
        rule(5, "Mirror", {"to": "other", "share": 0}),
    ]
    rules = [r for r in rules if bench.can(r)]
    services = {"shadow": shadow.address, "other": "127.0.0.1:1"}
    (client,) = bench.sites(site("ingress", "web", rules), callee=callee.address, services=services)
    many = 400
    statuses = [client.send("/", asks("abort")).status for _ in range(many)]
    assert set(statuses) == {200, 418}
    assert drawn(statuses.count(418), many, 0.7)
    for asked in ("mirror", "log"):
        assert {client.send("/", asks(asked)).status for _ in range(many)} == {200}
    with ThreadPoolExecutor(20) as pool:  # each on a connection of its own, so that the delays go on together
        times = list(pool.map(lambda _: timed(Client(client.address), "/", asks("delay"))[1], range(100)))
    assert drawn(sum(t >= 0.5 * EARLY for t in times), 100, 0.5)
    end = time.monotonic() + 60
    while bench.dataplane == "envoy" and not drawn(
        len(shadow.requests), many, 0.25
    ):  # the last copies may be on their way
        assert time.monotonic() < end, len(shadow.requests)
        time.sleep(0.1)
    lines = bench.logged(int(many * 0.4 - spread(many, 0.4)))
    assert drawn(len(lines), many, 0.4)
    assert {line["policy"] for line in lines} == {"p2"}


# --- times and retries ----------------------------------------------------------------------------------------------


def test_retries(envoy: Bench) -> None:
    callee = envoy.scripted()
    rules = [rule(0, "Retry", {"attempts": 2}, want("two")), rule(1, "Retry", {"attempts": 1}, want("one"))]
    (client,) = envoy.sites(site("egress", "db", rules), callee=callee.address)

    def sent(script: list[int | None], asked: str, **more: Any) -> tuple[int, int]:
        """The status in the end, and how many requests the callee got."""
        callee.script = list(script)
        status = client.send("/x?y", [*asks(asked), ("x-envoy-max-retries", "9"), ("x-envoy-retry-on", "5xx")], **more)
        attempts = len(callee.requests)
        messages = callee.expect(attempts)
        assert all(
            (m.start, m.headers, m.body) == (messages[0].start, messages[0].headers, messages[0].body) for m in messages
        )
        assert [k for k, _ in messages[0].headers if k.startswith("x-envoy")] == []
        return status.status, attempts

    assert sent([503], "two") == (200, 2)
    assert sent([502, None], "two") == (200, 3)
    assert sent([504, 503, 503], "two") == (503, 3)
    assert sent([503, 503], "one") == (503, 2)
    assert sent([500], "two") == (500, 1), "an answer that is no failure of the way is an answer"
    assert sent([404], "two") == (404, 1)
    assert sent([503], "none") == (503, 1)
    assert sent([503, None], "two", method="POST", body=b"some body") == (200, 3)
    assert sent([503], "two", method="POST", body=b"x" * 1_000_000) == (200, 2)
    assert sent([503], "two", method="POST", body=b"x" * 1_100_000) == (503, 1), "too large to keep"


def test_attempts_that_take_too_long(envoy: Bench) -> None:
    callee = envoy.scripted()
    attempt = rule(0, "SetAttemptTimeout", {"limit": 1000 * MILLISECOND})
    rules = [attempt, rule(1, "Retry", {"attempts": 2}, want("retry"))]
    rules.append(rule(2, "SetTimeout", {"limit": 1500 * MILLISECOND}, compare("exists", True, "limited")))
    (client,) = envoy.sites(site("egress", "db", rules), callee=callee.address)
    callee.script = [30.0]
    reply, took = timed(client, "/", asks("retry"))
    assert reply.status == 200
    assert EARLY <= took < 20
    callee.expect(2)
    callee.script = [30.0]
    reply, took = timed(client, "/", asks("no"))
    assert reply.status == 504
    assert took < 20
    callee.expect(1)
    callee.script = [30.0, 30.0, 30.0]
    reply, took = timed(client, "/", [*asks("retry"), ("limited", "1")])
    assert reply.status == 504, "the limit holds for all attempts together"
    assert 1.5 * EARLY <= took < 20, "the attempts alone would not end so soon"
    assert len(callee.requests) in (2, 3)


# --- the log --------------------------------------------------------------------------------------------------------


def test_requests_are_logged(bench: Bench) -> None:
    rules = [
        rule(0, "LogSample", {"share": ALWAYS}, want("log")),
        rule(1, "Abort", {"status": 500, "share": ALWAYS}, compare("exists", True, "abort")),
    ]
    rules[0]["policy"] = 'odd "100%" é'
    egress, ingress = bench.sites(site("egress", "db", rules[:1]), site("ingress", "outside", rules))
    egress.send("/a?b", asks("log"), method="PUT", body=b"12345")
    egress.send("/quiet", asks("no"))
    ingress.send("/c", [*asks("log"), ("abort", "1")])
    first, second = bench.logged(2)
    assert {k: first[k] for k in ("caller", "callee", "side", "policy", "method", "target", "status")} == {
        "caller": "cart",
        "callee": "db",
        "side": "egress",
        "policy": 'odd "100%" é',
        "method": "PUT",
        "target": "/a?b",
        "status": 200,
    }
    assert first.get("bytes_received") == (5 if bench.dataplane == "envoy" else None)
    assert (second["caller"], second["target"], second["status"]) == ("outside", "/c", 500)
    assert isinstance(first["milliseconds"], int)
    assert first["time"] <= second["time"]


# --- faults ---------------------------------------------------------------------------------------------------------


def test_faults_are_the_callees(bench: Bench) -> None:
    """They happen at the callee's side, so that what the caller does about failures sees them."""
    callee = bench.scripted()
    rules = [
        rule(0, "Delay", {"time": 1000 * MILLISECOND, "share": ALWAYS}, compare("exists", True, "slow")),
        rule(1, "Abort", {"status": 503, "share": ALWAYS}, compare("exists", True, "broken")),
    ]
    (callees,) = bench.sites(site("ingress", "web", rules), callee=callee.address)
    patience = [
        rule(0, "SetTimeout", {"limit": 100 * MILLISECOND}, want("timeout")),
        rule(1, "Retry", {"attempts": 2}, want("retry")),
        rule(2, "LogSample", {"share": ALWAYS}),
    ]
    (callers,) = bench.sites(site("egress", "cart", patience, service="web"), callee=callees.address, dataplane="envoy")
    reply, took = timed(callers, "/", [("slow", "1")])
    assert reply.status == 200
    assert took >= EARLY
    callee.expect(1)
    reply, took = timed(callers, "/", [*asks("timeout"), ("slow", "1")])
    assert reply.status == 504
    assert took < EARLY, "the caller does not wait for the callee"
    assert callers.send("/", [("broken", "1")]).status == 503
    begin = time.monotonic()
    assert callers.send("/", [*asks("retry"), ("broken", "1")]).status == 503
    assert time.monotonic() - begin < 20
    assert callers.send("/", asks("retry")).status == 200
