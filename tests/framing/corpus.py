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


def coded(field: bytes) -> bytes:
    return post(b"%s\r\nContent-Length: 3\r\n" % field, b"abc")


def hidden(fields: bytes) -> bytes:
    """A body that is a request of its own for whoever does not take these fields for its length."""
    return post(fields % len(SMUGGLED), SMUGGLED)


NESTED = sized(b"a" * 7 + b"\r\n\r\n" + SMUGGLED)
CHUNK = b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n"
ONE_BY_ONE = b"".join(b"1\r\n%c\r\n" % c for c in SMUGGLED) + b"0\r\n\r\n"
LETTERS = b"a\r\n0123456789\r\nB\r\n0123456789a\r\n00C\r\n0123456789ab\r\n0\r\n\r\n"
TRAILED = b"3\r\nabc\r\n0\r\n%s\r\n\r\n"
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
    Case("several fields of one name", "5.1", get(b"X-A: b\r\nx-a: c\r\nX-A:\r\n") + ALLOWED, ("/ok", "/ok")),
    Case("a name of every kind of letter", "5.1", get(b"!#$%&'*+-.^`|~09aZ: b\r\n"), ("/ok",)),
    Case("a colon and a quote in a value", "5", get(b'X-A: "b: c\\"\r\n') + ALLOWED, ("/ok", "/ok")),
    Case("bytes above 127 in a value", "5", get(b"X-A: b\x80\xff\xc3\xa9\r\n"), ("/ok",)),
    Case("blanks around a length", "6.2", post(b"Content-Length: \t 3 \t\r\n", b"abc") + ALLOWED, ("/ok", "/ok")),
    Case("a POST without a body", "6.3", post(b"") + ALLOWED, ("/ok", "/ok")),
    Case("a body of blank lines", "6.2", NESTED + DENIED, ("/ok", "/admin")),
    Case("a request in chunks of a byte", "7.1", chunked(ONE_BY_ONE) + ALLOWED, ("/ok", "/ok")),
    Case("chunk sizes in letters of both cases", "7.1", chunked(LETTERS) + DENIED, ("/ok", "/admin")),
    Case("a GET in chunks", "6", get(b"Transfer-Encoding: chunked\r\n", CHUNK) + ALLOWED, ("/ok", "/ok")),
    Case("blanks around the coding", "6.1", chunked(CHUNK, b"Transfer-Encoding: \t chunked \t\r\n"), ("/ok",)),
    Case("a trailer field that looks like a chunk", "7.1.2", chunked(TRAILED % b"3: abc") + DENIED, ("/ok", "/admin")),
    Case(
        "codings of answers that are welcome", "7.4", get(b"TE: trailers, deflate;q=0.5\r\n") + ALLOWED, ("/ok", "/ok")
    ),
    Case(
        "a content coding that is none of the message's",
        "7.2",
        coded(b"Content-Encoding: gzip") + ALLOWED,
        ("/ok", "/ok"),
    ),
    Case("fields that are nearly lengths", "11.2", get(b"X-Content-Length: 9\r\nContent-Lengths: 9\r\n"), ("/ok",)),
    Case("a refused one in chunks", "7.1", post(b"Transfer-Encoding: chunked\r\n", CHUNK, b"/admin"), ("/admin",)),
    Case("a refused one with a body", "6.2", sized(SMUGGLED, b"/admin"), ("/admin",)),
    Case("a refused one before another", "9.3.2", DENIED + ALLOWED, ("/admin", "/ok")),
    Case("a refused one behind others", "9.3.2", ALLOWED + sized(b"abc") + DENIED, ("/ok", "/ok", "/admin")),
    Case("three in a row", "9.3.2", ALLOWED + sized(b"abc") + ALLOWED, ("/ok", "/ok", "/ok")),
)
OLD = post(
    b"Connection: keep-alive\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    b"0\r\n\r\n" + SMUGGLED,
    version=b"HTTP/1.0",
)
NAMED = b"Connection: Content-Length\r\nContent-Length: %d\r\n"
CODED = b"Transfer-Encoding: chunked\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
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
    Case("a line that is folded by a tab", "5.2", hidden(b"X-A: b\r\n\tContent-Length: %d\r\n")),
    Case("a folded length", "5.2", hidden(b"Content-Length:\r\n %d\r\n")),
    Case("a length that goes on in a folded line", "5.2", post(b"Content-Length: 1\r\n 0\r\n", b"abc" + SMUGGLED)),
    Case("an empty folded line", "5.2", get(b"X-A: b\r\n \r\n") + SMUGGLED),
    Case("a folded first field", "5.2", b"GET /ok HTTP/1.1\r\n\t" + HOST + b"X-A: b\r\n\r\n" + SMUGGLED),
    Case("a byte above 127 before a colon", "5.1", hidden(b"Content-Length\xa0: %d\r\n")),
    Case("a vertical tab before a colon", "5.1", hidden(b"Content-Length\v: %d\r\n")),
    Case("a carriage return before a colon", "5.1", hidden(b"Content-Length\r: %d\r\n")),
    Case("a comma in a name", "5.1", get(b"X,A: b\r\n")),
    Case("a colon in front of a name", "5.1", chunked(CHUNK, b":Transfer-Encoding: chunked\r\n")),
    Case("a blank in front of a name", "5.1", get(b"X-A: b\r\n").replace(b"X-A", b" X-A")),
    Case("an underscore for a hyphen", "5.1", hidden(b"Content_Length: %d\r\n")),
    Case("a control character in a value", "5", get(b"X-A: b\x01c\x7f\r\n")),
    Case("a form feed behind a length", "5", hidden(b"Content-Length: %d\f\r\n")),
    Case("a folded coding", "5.2", chunked(CHUNK, b"Transfer-Encoding:\r\n chunked\r\n")),
    Case("a length and a coding", "6.1", chunked(CHUNK, b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n")),
    Case(
        "a coding and a length",
        "6.1",
        chunked(b"0\r\n\r\n" + SMUGGLED, b"Transfer-Encoding: chunked\r\nContent-Length: 99\r\n"),
    ),
    Case("a coding in HTTP/1.0", "6.1", post(b"Transfer-Encoding: chunked\r\n", CHUNK, version=b"HTTP/1.0")),
    Case("a comma before chunked", "6.1", chunked(CHUNK, b"Transfer-Encoding: , chunked\r\n")),
    Case("two fields of chunked", "6.1", chunked(CHUNK, b"Transfer-Encoding: chunked\r\n" * 2)),
    Case(
        "identity, then chunked",
        "6.1",
        chunked(CHUNK, b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
    ),
    Case("a NUL behind chunked", "6.1", chunked(CHUNK, b"Transfer-Encoding: chunked\0\r\n")),
    Case("a form feed behind chunked", "6.1", chunked(CHUNK, b"Transfer-Encoding: chunked\f\r\n")),
    Case("a byte above 127 before chunked", "6.1", chunked(CHUNK, b"Transfer-Encoding: \x85chunked\r\n")),
    Case("an underscore in the coding's field", "6.1", chunked(CHUNK, b"Transfer_Encoding: chunked\r\n")),
    Case("another coding and a length", "6.1", hidden(b"Transfer-Encoding: gzip\r\nContent-Length: %d\r\n")),
    Case("a coding in HTTP/1.0 and a length", "6.1", OLD),
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
    Case(
        "three lengths of which two are the same",
        "6.3",
        post(b"Content-Length: 3\r\n" * 2 + b"Content-Length: 4\r\n", b"abcd"),
    ),
    Case("an empty element in a list of lengths", "6.3", post(b"Content-Length: 3,,3\r\n", b"abc")),
    Case("a comma behind a length", "6.3", hidden(b"Content-Length: %d,\r\n")),
    Case("an empty length and another one", "6.3", hidden(b"Content-Length:\r\nContent-Length: %d\r\n")),
    Case("a length in quotes", "6.3", hidden(b'Content-Length: "%d"\r\n')),
    Case("a length with a parameter", "6.3", hidden(b"Content-Length: %d;a=b\r\n")),
    Case("a length with an exponent", "6.3", post(b"Content-Length: 3e1\r\n", b"abc" + SMUGGLED)),
    Case("a length with an underscore", "6.3", post(b"Content-Length: 1_0\r\n", b"abc" + SMUGGLED)),
    Case("a length with a NUL", "6.3", hidden(b"Content-Length: %d\0\r\n")),
    Case("a length of digits that are none of ASCII", "6.3", post("Content-Length: ٣\r\n".encode(), b"abc" + SMUGGLED)),
    Case("a length of 2**63", "6.3", post(b"Content-Length: 9223372036854775808\r\n", b"abc" + SMUGGLED)),
    Case("a length of 2**32 and 3", "6.3", post(b"Content-Length: 4294967299\r\n", b"abc" + SMUGGLED)),
    Case("a chunk size with a blank", "7.1", chunked(b"3 \r\nabc\r\n0\r\n\r\n")),
    Case("a chunk size with a blank in front", "7.1", chunked(b" 3\r\nabc\r\n0\r\n\r\n")),
    Case("a chunk size with a sign", "7.1", chunked(b"+3\r\nabc\r\n0\r\n\r\n")),
    Case("a chunk size below 0", "7.1", chunked(b"-1\r\nabc\r\n0\r\n\r\n")),
    Case("a chunk size with 0x", "7.1", chunked(b"0x3\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    Case("a chunk size beyond 64 bits", "7.1", chunked(b"10000000000000003\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    Case("a chunk size of 2**32 and 3", "7.1", chunked(b"100000003\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    Case("a chunk size of 2**63", "7.1", chunked(b"8000000000000000\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    Case("a chunk size with a NUL", "7.1", chunked(b"3\0\r\nabc\r\n0\r\n\r\n")),
    Case("a chunk size with a tab", "7.1", chunked(b"3\t\r\nabc\r\n0\r\n\r\n")),
    Case("a chunk size with an underscore", "7.1", chunked(b"1_0\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    Case("a line feed behind the last chunk's size", "7.1", chunked(b"0\n\r\n" + SMUGGLED)),
    Case("a line feed ends the last chunk", "7.1", chunked(b"3\r\nabc\r\n0\r\n\n" + SMUGGLED)),
    Case("a carriage return ends the last chunk", "7.1", chunked(b"0\r\n\rX" + SMUGGLED)),
    Case("something behind a chunk", "7.1", chunked(b"3\r\nabcXX0\r\n\r\n" + SMUGGLED)),
    Case("an empty line before a chunk size", "7.1", chunked(b"\r\n3\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    Case("two sizes of zero", "7.1", chunked(b"0\r\n0\r\n\r\n" + SMUGGLED)),
    Case("no chunk size", "7.1", chunked(b"\r\nabc\r\n0\r\n\r\n")),
    Case("a chunk size in other letters", "7.1", chunked(b"g\r\nabc\r\n0\r\n\r\n")),
    Case("a line feed behind a chunk size", "7.1", chunked(b"3\nabc\r\n0\r\n\r\n")),
    Case("a carriage return behind a chunk size", "7.1", chunked(b"3\rXabc\r\n0\r\n\r\n")),
    Case("a line feed behind a chunk", "7.1", chunked(b"3\r\nabc\n0\r\n\r\n")),
    Case("nothing behind a chunk", "7.1", chunked(b"3\r\nabc0\r\n\r\n" + SMUGGLED)),
    Case("more than the chunk's size", "7.1", chunked(b"3\r\nabcde\r\n0\r\n\r\n")),
    Case("a chunk extension with a line feed", "7.1.1", chunked(b"3;a\nXX\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    Case("a chunk extension with a carriage return", "7.1.1", chunked(b"3;a\rXX\r\nabc\r\n0\r\n\r\n")),
    Case("a chunk extension in quotes", "7.1.1", chunked(b'3;a="b;c"\r\nabc\r\n0\r\n\r\n')),
    Case("a line's end in a quoted chunk extension", "7.1.1", chunked(b'3;a="\r\nabc\r\n0\r\n\r\n' + SMUGGLED)),
    Case("a chunk extension of the last chunk", "7.1.1", chunked(b"3\r\nabc\r\n0;a=b\r\n\r\n")),
    Case("a chunk extension with blanks", "7.1.1", chunked(b"3 ; a = b\r\nabc\r\n0\r\n\r\n")),
    Case("a chunk extension without a name", "7.1.1", chunked(b"3;\r\nabc\r\n0\r\n\r\n")),
    Case("a chunk extension with a NUL", "7.1.1", chunked(b"3;a\0\r\nabc\r\n0\r\n\r\n")),
    Case("a chunk extension that is a request", "7.1.1", chunked(b"3;\n" + SMUGGLED + b"abc\r\n0\r\n\r\n")),
    Case("a blank before a trailer's colon", "7.1.2", chunked(b"0\r\nX-A : b\r\n\r\n" + SMUGGLED)),
    Case("a NUL in a trailer", "7.1.2", chunked(b"0\r\nX-A: b\0\r\n\r\n" + SMUGGLED)),
    Case("a carriage return in a trailer", "7.1.2", chunked(b"0\r\nX-A: b\rc\r\n\r\n" + SMUGGLED)),
    Case("a line feed in a trailer", "7.1.2", chunked(b"0\r\nX-A: b\nX-B: c\r\n\r\n")),
    Case("a trailer field that would be a length", "7.1.2", chunked(TRAILED % b"Content-Length: 9")),
    Case("a trailer field that would be a coding", "7.1.2", chunked(TRAILED % b"Transfer-Encoding: gzip")),
    Case("a trailer field that would be a host", "7.1.2", chunked(TRAILED % b"Host: other")),
    Case("a malformed trailer", "7.1.2", chunked(b"0\r\nno colon\r\n\r\n")),
    Case("a line feed ends the trailers", "7.1.2", chunked(b"0\r\nX-A: b\n\n" + SMUGGLED)),
    Case("a folded trailer", "7.1.2", chunked(b"0\r\nX-A: b\r\n c\r\n\r\n")),
    Case("a compressed coding before chunked", "7.2", chunked(CHUNK, b"Transfer-Encoding: deflate, chunked\r\n")),
    Case("a coding's old name", "7.2", chunked(CHUNK, b"Transfer-Encoding: x-gzip\r\n")),
    Case("chunked among what is welcome", "7.4", get(b"Connection: TE\r\nTE: chunked\r\n", CHUNK)),
    Case("a line's end that is a line feed between lines", "11.1", get(b"X-A: b\nHTTP/1.1 200 OK\r\n")),
    Case("a length that is said to be for one hop", "11.2", post(NAMED % len(SMUGGLED), SMUGGLED)),
    Case(
        "a coding that is said to be for one hop", "11.2", chunked(CHUNK, b"Connection: Transfer-Encoding\r\n" + CODED)
    ),
    Case("a host that is said to be for one hop", "11.2", get(b"Connection: Host\r\n") + SMUGGLED),
    Case(
        "an answer that is waited for before the body",
        "11.2",
        hidden(b"Expect: 100-continue\r\nContent-Length: %d\r\n"),
    ),
    Case("another expectation", "11.2", hidden(b"Expect: 200-ok\r\nContent-Length: %d\r\n")),
    Case("HTTP/2 in place of a body", "11.2", get(H2C) + SMUGGLED),
    Case(
        "another protocol behind a length",
        "11.2",
        hidden(b"Connection: upgrade\r\nUpgrade: a\r\nContent-Length: %d\r\n"),
    ),
    Case("another request behind the last one", "11.2", get(b"Connection: close\r\n") + SMUGGLED),
    Case("another request behind HTTP/1.0", "11.2", get(version=b"HTTP/1.0") + SMUGGLED),
    Case("a body that is cut off", "11.3", post(b"Content-Length: 9\r\n", b"abc")),
    Case("a chunk that is cut off", "11.3", chunked(b"9\r\nabc")),
    Case("chunks without a last one", "11.3", chunked(b"3\r\nabc\r\n")),
    Case("trailers that are cut off", "11.3", chunked(b"3\r\nabc\r\n0\r\nX-A: b\r\n")),
    Case("a head that is cut off", "11.3", b"GET /admin HTTP/1.1\r\n" + HOST),
    Case("a response in place of a request", "11.1", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + SMUGGLED),
    Case("a field that begins another line", "11.1", get(b"X-A: b%0d%0aX-B: c\r\n", target=b"/ok?%0d%0aGET%20/admin")),
    Case("TLS", "11", b"\x16\x03\x01\x00\x2e\x01\x00\x00\x2a\x03\x03" + bytes(40)),
)
EXTENDED = Case("a chunk extension", "7.1.1", chunked(b"3;a=b\r\nabc\r\n0\r\n\r\n") + ALLOWED)
CASES = (*SOUND, EXTENDED, *MALFORMED)
