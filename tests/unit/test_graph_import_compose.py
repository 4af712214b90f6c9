"""A service graph from Compose files."""

from __future__ import annotations

import pytest
from importing import calls, entries, graph, notes, run
from m4c.semantics.model import Service

COMPOSE = """
    name: shop
    x-common: &common
      restart: always
      environment: &env {LOG: debug, KAFKA_ADDR: "kafka:9092"}
    services:
      web:
        <<: *common
        image: web:1
        ports: ["8080:80"]
        depends_on: [api, cache]
        environment:
          <<: *env
          API_URL: http://api:${API_PORT:-9000}/v1
        labels: ["traefik.enable=true", "team=front"]
      api:
        build: .
        environment: ["DB_HOST=postgres", "DB_USER=postgres", "SELF=http://api:80"]
        links: ["cache:store"]
        command: serve --queue tcp://store:1
      db: {image: postgres, container_name: postgres}
      cache: {image: redis}
      kafka: {image: kafka, ports: [{target: 9092, published: 9092, app_protocol: kafka}]}
"""


def test_a_shop_of_compose() -> None:
    found = graph(COMPOSE)
    assert calls(found) == ["api->cache", "api->db", "web->api", "web->kafka"]
    assert found.services["web"] == Service("web", labels=(("team", "front"),), entry=True)
    assert found.services["kafka"].protocol == "kafka"
    assert entries(found) == ["kafka", "web"]
    assert [n for n in notes(COMPOSE) if "`web` depends on `cache`, but no setting of it names an address there" in n]


def test_files_of_one_project_are_put_together() -> None:
    one = "services: {a: {image: x, environment: {A_URL: http://b}}, b: {image: x}, c: {image: x}}"
    other = "services: {a: {image: x, environment: [A_URL=http://c], ports: [80]}}"
    found = graph(one, other)
    assert calls(found) == ["a->c"]
    assert entries(found) == ["a"]


def test_services_extend_others() -> None:
    text = """
        services:
          base: {image: x, environment: {A_URL: http://db, B_URL: http://db}, extends: more}
          a: {extends: {service: base}, environment: {A_URL: http://c}}
          c: {extends: {service: x, file: other.yaml}}
          more: {image: x, environment: {C_URL: http://e}, extends: base}
          db: {image: x}
          e: {image: x}
    """
    assert calls(graph(text)) == ["a->c", "a->db", "a->e", "base->db", "base->e", "more->db", "more->e"]
    assert [n for n in notes(text) if n.startswith("a:5: what `c` extends is elsewhere, and left out")]


def test_what_only_compose_itself_knows_is_told() -> None:
    text = """
        include: [more.yaml]
        services:
          a:
            image: x
            env_file: .env
            environment: [QUEUE, "CACHE=redis", "API=http://${HOST}/", "ESCAPED=$$x"]
            links: [gone]
          redis: {image: redis}
    """
    assert calls(graph(text)) == []
    assert [n.partition(": ")[2] for n in notes(text)[:5]] == [
        "`include` is not followed: import these files too",
        "`a` links to `gone`, which is not among the inputs",
        "`CACHE` of `a` may be the address of `redis`; no call is taken from it",
        "`a` takes `API`, `QUEUE` from the shell or `.env`, which is not read: "
        "import what `docker compose config` prints",
        "the `env_file` of `a` is not read: import what `docker compose config` prints",
    ]


def test_other_names_of_a_compose_service() -> None:
    text = """
        services:
          a: {image: x, environment: {A: "http://one", B: "two:1", C: "three:2", D: "http://under_score"}}
          b: {image: x, hostname: one}
          c: {image: x, networks: {default: {aliases: [two]}, other: }}
          d: {image: x, container_name: three, networks: [default]}
          under_score: {image: x}
    """
    assert calls(graph(text)) == ["a->b", "a->c", "a->d", "a->under_score"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: {a: {image: x, ports: 80}}", "a:1: `services.a.ports` is `80`; expected a list"),
        ("services: {a: {image: x, links: {b: c}}}", "a:1: `services.a.links` is a map; expected a list"),
        (
            "services: {a: {image: x, environment: [[b]]}}",
            "a:1: `services.a.environment[0]` is a list; expected a text",
        ),
        ("services: {a: {image: x, labels: {<<: 1}}}", "a:1: `<<` merges maps only"),
        ("services: {a: &a {image: x, <<: *a}}", "a:1: `services.a` merges itself"),
    ],
)
def test_compose_files_that_are_wrong(text: str, message: str) -> None:
    result = run(text, form="compose")
    assert result.graph is None
    assert {str(p) for p in result.problems} == {message}
