"""The corpus: streams of bytes by what RFC 9112 says of them, and what must become of their requests.

The policy refuses every target that begins with /admin. SMUGGLED is a request that only a wrong reading finds.
"""

from __future__ import annotations

from dataclasses import dataclass

HOST = b"Host: pay\r\n"
ALLOWED = b"GET /ok HTTP/1.1\r\n" + HOST + b"\r\n"
DENIED = b"GET /admin HTTP/1.1\r\n" + HOST + b"\r\n"
SMUGGLED = b"GET /admin/s HTTP/1.1\r\n" + HOST + b"\r\n"


@dataclass(frozen=True, slots=True)
class Case:
    """`requests`: the targets of a stream that is well-formed, in order; None if it is not, and then it may be refused,
    or passed on in a form that nobody misreads."""

    name: str
    section: str  # of RFC 9112
    stream: bytes
    requests: tuple[str, ...] | None = None


def get(fields: bytes = b"", body: bytes = b"", target: bytes = b"/ok", version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET %s %s\r\n%s%s\r\n%s" % (target, version, HOST, fields, body)


def post(fields: bytes, body: bytes = b"", target: bytes = b"/ok", version: bytes = b"HTTP/1.1") -> bytes:
    return b"POST %s %s\r\n%s%s\r\n%s" % (target, version, HOST, fields, body)


def sized(body: bytes, target: bytes = b"/ok") -> bytes:
    return post(b"Content-Length: %d\r\n" % len(body), body, target)


def chunked(rest: bytes, fields: bytes = b"Transfer-Encoding: chunked\r\n") -> bytes:
    return post(fields, rest)


def hidden(fields: bytes) -> bytes:
    """A body that is a request of its own for whoever does not take these fields for its length."""
    return post(fields % len(SMUGGLED), SMUGGLED)


CHUNK = b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n"
SOUND = (
    Case("one request", "2.1", ALLOWED, ("/ok",)),
    Case("a request that is refused", "2.1", DENIED, ("/admin",)),
    Case("a query that looks like a path", "3.2.1", get(target=b"/ok?/admin"), ("/ok?/admin",)),
    Case("blanks around a value", "5.1", get(b"X-A: \t b \t\r\n"), ("/ok",)),
    Case("an empty value", "5.1", get(b"X-A:\r\n"), ("/ok",)),
    Case("a request in a body with a length", "6.2", sized(SMUGGLED) + ALLOWED, ("/ok", "/ok")),
    Case("a body whose length is 0", "6.2", sized(b"") + ALLOWED, ("/ok", "/ok")),
    Case("a length with leading zeros", "6.2", post(b"Content-Length: 003\r\n", b"abc") + ALLOWED, ("/ok", "/ok")),
    Case("a GET with a body", "6", get(b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED) + ALLOWED, ("/ok", "/ok")),
    Case("a request in a chunk", "7.1", chunked(CHUNK) + ALLOWED, ("/ok", "/ok")),
    Case("the coding's name in capitals", "7", chunked(CHUNK, b"Transfer-Encoding: CHUNKED\r\n"), ("/ok",)),
    Case("chunk sizes with zeros in front", "7.1", chunked(b"003\r\nabc\r\n00\r\n\r\n") + ALLOWED, ("/ok", "/ok")),
    Case("a trailer field", "7.1.2", chunked(b"3\r\nabc\r\n0\r\nX-A: b\r\n\r\n") + ALLOWED, ("/ok", "/ok")),
    Case("a refused one with a body", "6.2", sized(SMUGGLED, b"/admin"), ("/admin",)),
    Case("a refused one before another", "9.3.2", DENIED + ALLOWED, ("/admin", "/ok")),
    Case("a refused one behind others", "9.3.2", ALLOWED + sized(b"abc") + DENIED, ("/ok", "/ok", "/admin")),
    Case("three in a row", "9.3.2", ALLOWED + sized(b"abc") + ALLOWED, ("/ok", "/ok", "/ok")),
)
MALFORMED = (
    Case("a line feed for the end of the first line", "2.2", b"GET /ok HTTP/1.1\n" + HOST + b"\r\n" + SMUGGLED),
    Case("line feeds for the end of the head", "2.2", b"GET /ok HTTP/1.1\r\nHost: pay\n\n" + SMUGGLED),
    Case("line feeds only", "2.2", ALLOWED.replace(b"\r\n", b"\n") + SMUGGLED.replace(b"\r\n", b"\n")),
    Case("a line feed hides a length", "2.2", hidden(b"X-A: b\nContent-Length: %d\r\n")),
    Case("a line feed ends a length", "2.2", post(b"Content-Length: 3\nX-A: b\r\n", b"abc")),
    Case("a carriage return in a value", "2.2", get(b"X-A: b\rContent-Length: 3\r\n", b"abc")),
    Case("a carriage return ends a line", "2.2", b"GET /ok HTTP/1.1\rHost: pay\r\r" + SMUGGLED),
    Case("carriage returns before the line's end", "2.2", get(b"X-A: b\r\r\n")),
    Case("blanks before the first field", "2.2", b"GET /ok HTTP/1.1\r\n " + HOST + b"\r\n"),
    Case("a blank line of blanks", "2.2", get(b" \r\n") + SMUGGLED),
    Case("an empty line before a request", "2.2", b"\r\n" + ALLOWED),
    Case("a line feed before a request", "2.2", b"\n" + ALLOWED),
    Case("two blanks in the first line", "3", b"GET  /ok HTTP/1.1\r\n" + HOST + b"\r\n"),
    Case("two targets", "3", b"GET /ok /admin HTTP/1.1\r\n" + HOST + b"\r\n"),
    Case("a tab in the first line", "3", b"GET\t/admin HTTP/1.1\r\n" + HOST + b"\r\n"),
    Case("a form feed in the first line", "3", b"GET /ok\f/admin HTTP/1.1\r\n" + HOST + b"\r\n"),
    Case("a vertical tab for a blank", "3", b"GET\v/admin\vHTTP/1.1\r\n" + HOST + b"\r\n"),
    Case("a blank before the method", "3", b" GET /admin HTTP/1.1\r\n" + HOST + b"\r\n"),
    Case("a blank behind the version", "3", b"GET /ok HTTP/1.1 \r\n" + HOST + b"\r\n"),
    Case("no target", "3", b"GET HTTP/1.1\r\n" + HOST + b"\r\n"),
    Case("no version", "3", b"GET /admin\r\n\r\n"),
    Case("a NUL in the target", "3.2", get(target=b"/ok\0/admin")),
    Case("a byte above 127 in the target", "3.2", get(target=b"/ok\xa0HTTP/1.1")),
    Case("a fragment", "3.2", get(target=b"/ok#/admin")),
    Case("a target without a slash", "3.2.1", get(target=b"admin")),
    Case("a target in absolute form", "3.2.2", get(target=b"http://pay/admin")),
    Case("a target in absolute form, in capitals", "3.2.2", get(target=b"HTTP://pay/admin")),
    Case("a target in authority form", "3.2.3", b"CONNECT pay:443 HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED),
    Case("two hosts", "3.2", get(b"Host: other\r\n")),
    Case("the same host twice", "3.2", get(HOST)),
    Case("no host", "3.2", b"GET /ok HTTP/1.1\r\nX-A: b\r\n\r\n"),
    Case("an unknown version", "2.3", get(version=b"HTTP/1.2")),
    Case("a version in small letters", "2.3", get(version=b"http/1.1")),
    Case("a version with two digits", "2.3", get(version=b"HTTP/1.10")),
    Case("the preface of HTTP/2", "2.3", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Case("a blank before a colon", "5.1", hidden(b"Content-Length : %d\r\n")),
    Case("a tab before a colon", "5.1", chunked(CHUNK, b"Transfer-Encoding\t: chunked\r\n")),
    Case("no colon", "5.1", get(b"X-A\r\n")),
    Case("no name", "5.1", get(b": b\r\n")),
    Case("a blank in a name", "5.1", hidden(b"Content Length: %d\r\n")),
    Case("a NUL in a name", "5.1", hidden(b"Content-Length\0: %d\r\n")),
    Case("a NUL in a value", "5", get(b"X-A: b\0c\r\n")),
    Case("a folded line", "5.2", get(b"X-A: b\r\n c\r\n")),
    Case("a folded line with a length", "5.2", hidden(b"X-A: b\r\n Content-Length: %d\r\n")),
    Case("a folded coding", "5.2", chunked(CHUNK, b"Transfer-Encoding:\r\n chunked\r\n")),
    Case("a length and a coding", "6.1", chunked(CHUNK, b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n")),
    Case(
        "a coding and a length",
        "6.1",
        chunked(b"0\r\n\r\n" + SMUGGLED, b"Transfer-Encoding: chunked\r\nContent-Length: 99\r\n"),
    ),
    Case("a coding in HTTP/1.0", "6.1", post(b"Transfer-Encoding: chunked\r\n", CHUNK, version=b"HTTP/1.0")),
    Case("another coding", "6.1", chunked(CHUNK, b"Transfer-Encoding: gzip\r\n")),
    Case("another coding before chunked", "6.1", chunked(CHUNK, b"Transfer-Encoding: gzip, chunked\r\n")),
    Case("another coding behind chunked", "6.1", chunked(CHUNK, b"Transfer-Encoding: chunked, gzip\r\n")),
    Case("chunked twice", "6.1", chunked(CHUNK, b"Transfer-Encoding: chunked, chunked\r\n")),
    Case(
        "two fields of codings", "6.1", chunked(CHUNK, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n")
    ),
    Case("identity", "6.1", chunked(CHUNK, b"Transfer-Encoding: identity\r\n")),
    Case("a name that is nearly chunked", "6.1", chunked(CHUNK, b"Transfer-Encoding: xchunked\r\n")),
    Case("chunked in quotes", "6.1", chunked(CHUNK, b'Transfer-Encoding: "chunked"\r\n')),
    Case("a comma behind chunked", "6.1", chunked(CHUNK, b"Transfer-Encoding: chunked,\r\n")),
    Case("a vertical tab before chunked", "6.1", chunked(CHUNK, b"Transfer-Encoding: \vchunked\r\n")),
    Case("a parameter of chunked", "6.1", chunked(CHUNK, b"Transfer-Encoding: chunked;a=b\r\n")),
    Case("an empty coding", "6.1", chunked(CHUNK, b"Transfer-Encoding:\r\n")),
    Case("two lengths", "6.3", post(b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(SMUGGLED), SMUGGLED)),
    Case("the same length twice", "6.3", hidden(b"Content-Length: %d\r\nContent-Length: 0\r\n")),
    Case("a list of lengths", "6.3", post(b"Content-Length: 3, 3\r\n", b"abc")),
    Case("a list of different lengths", "6.3", post(b"Content-Length: 0, %d\r\n" % len(SMUGGLED), SMUGGLED)),
    Case("a signed length", "6.3", hidden(b"Content-Length: +%d\r\n")),
    Case("a negative length", "6.3", post(b"Content-Length: -1\r\n", SMUGGLED)),
    Case("a hexadecimal length", "6.3", post(b"Content-Length: 0x3\r\n", b"abc" + SMUGGLED)),
    Case("an octal length that is none", "6.3", post(b"Content-Length: 0o3\r\n", b"abc")),
    Case("a length with a blank in it", "6.3", post(b"Content-Length: 1 0\r\n", b"abc")),
    Case("a length with a fraction", "6.3", post(b"Content-Length: 3.0\r\n", b"abc")),
    Case("an empty length", "6.3", post(b"Content-Length:\r\n", SMUGGLED)),
    Case("a length beyond 64 bits", "6.3", post(b"Content-Length: 18446744073709551619\r\n", b"abc" + SMUGGLED)),
    Case("a chunk size with a blank", "7.1", chunked(b"3 \r\nabc\r\n0\r\n\r\n")),
    Case("a chunk size with a blank in front", "7.1", chunked(b" 3\r\nabc\r\n0\r\n\r\n")),
    Case("a chunk size with a sign", "7.1", chunked(b"+3\r\nabc\r\n0\r\n\r\n")),
    Case("a chunk size below 0", "7.1", chunked(b"-1\r\nabc\r\n0\r\n\r\n")),
    Case("a chunk size with 0x", "7.1", chunked(b"0x3\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    Case("a chunk size beyond 64 bits", "7.1", chunked(b"10000000000000003\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    Case("no chunk size", "7.1", chunked(b"\r\nabc\r\n0\r\n\r\n")),
    Case("a chunk size in other letters", "7.1", chunked(b"g\r\nabc\r\n0\r\n\r\n")),
    Case("a line feed behind a chunk size", "7.1", chunked(b"3\nabc\r\n0\r\n\r\n")),
    Case("a carriage return behind a chunk size", "7.1", chunked(b"3\rXabc\r\n0\r\n\r\n")),
    Case("a line feed behind a chunk", "7.1", chunked(b"3\r\nabc\n0\r\n\r\n")),
    Case("nothing behind a chunk", "7.1", chunked(b"3\r\nabc0\r\n\r\n" + SMUGGLED)),
    Case("more than the chunk's size", "7.1", chunked(b"3\r\nabcde\r\n0\r\n\r\n")),
    Case("a chunk extension with a line feed", "7.1.1", chunked(b"3;a\nXX\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    Case("a chunk extension with a carriage return", "7.1.1", chunked(b"3;a\rXX\r\nabc\r\n0\r\n\r\n")),
    Case("a malformed trailer", "7.1.2", chunked(b"0\r\nno colon\r\n\r\n")),
    Case("a line feed ends the trailers", "7.1.2", chunked(b"0\r\nX-A: b\n\n" + SMUGGLED)),
    Case("a folded trailer", "7.1.2", chunked(b"0\r\nX-A: b\r\n c\r\n\r\n")),
    Case("a response in place of a request", "11.1", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + SMUGGLED),
    Case("a field that begins another line", "11.1", get(b"X-A: b%0d%0aX-B: c\r\n", target=b"/ok?%0d%0aGET%20/admin")),
    Case("TLS", "11", b"\x16\x03\x01\x00\x2e\x01\x00\x00\x2a\x03\x03" + bytes(40)),
)
EXTENDED = Case("a chunk extension", "7.1.1", chunked(b"3;a=b\r\nabc\r\n0\r\n\r\n") + ALLOWED)
CASES = (*SOUND, EXTENDED, *MALFORMED)
