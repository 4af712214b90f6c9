// What every dataplane talks about. A spec says which of this a dataplane can do; policies use it.

/// What happens to a request. Nothing else happens to one that is denied.
enum Verdict { allow, deny terminal }

/// A TCP connection between two services.
entity TcpConnection {
    /// The port that the caller connects to.
    attribute port: int;
}

/// One HTTP request on one hop.
entity HttpRequest over TcpConnection {
    /// The request method, `GET`.
    attribute method: string in r"[A-Z]+";

    /// The request target as it was sent: path and query, `/cart?id=7`.
    attribute target: string;

    /// The target before the first `?`.
    attribute url_path: string from target before "?";

    /// A header field. Names ignore case; a field that is repeated is one value, joined by `,`.
    attribute header[name: istring except [
        "connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "baggage", "m4-ctx"
    ]]: string?;

    /// The verified identity of the caller.
    attribute peer: string?;

    /// Whether the request may pass. An allow against a deny is a contradiction: say which one overrides the other.
    attribute verdict: Verdict default allow;

    /// The status of the response to a denied request. Of several, the smallest.
    attribute status: int merge min default 403;

    /// Which versions of the callee get which share of the requests.
    attribute route: map<version, percent>;

    /// How long the caller waits for the response. Of several, the shortest.
    attribute timeout: duration merge min;

    /// Lets the request pass, against a mesh's `default … = deny`.
    operation AllowRequest() writes verdict = allow;

    /// Answers the request with `status`; it goes no further.
    operation DropRequest(status: int = 403) writes verdict = deny, status = status;

    /// Sets a header field on this hop, in place of what it was.
    operation SetHeader(name: istring, value: string) writes header[name] = value;

    /// Spreads requests over the versions of the callee: `r.Split({ v1: 80%, v2: 20% })`.
    operation Split(versions: map<version, percent>) at egress writes route = versions;

    /// Answers 504 to the caller if the response takes longer.
    operation SetTimeout(limit: duration) at egress writes timeout = limit;
}
