// What every dataplane talks about. A spec says which of this a dataplane can do; policies use it.

/// What happens to a request or a connection. Nothing else happens to one that is denied.
enum Verdict { allow, deny terminal }

/// A TCP connection between two services. Its patterns name the two ends: `? -> F`, `A -> B`.
@connection
entity TcpConnection {
    /// The port that the caller connects to.
    attribute port: int;

    /// The verified identity of the caller, as its certificate has it (`spiffe://shop/cart`).
    attribute peer: string?;

    /// Whether the connection is made. One that is denied denies every request that it would carry.
    attribute verdict: Verdict default allow;

    /// Whether both ends must prove who they are (mutual TLS).
    attribute mutual_tls: bool merge or;

    /// How long the caller waits until the connection stands. Of several, the shortest.
    attribute connect_timeout: duration merge min;

    /// Lets the connection be made, against a mesh's `default … = deny`.
    operation AllowConnection() writes verdict = allow;

    /// Refuses the connection.
    operation DropConnection() writes verdict = deny;

    /// Demands that both ends prove who they are, and encrypts what they say.
    operation RequireIdentity() writes mutual_tls = true;

    /// Gives up when the connection does not stand in time.
    operation SetConnectTimeout(limit: duration) at egress writes connect_timeout = limit;
}

/// An HTTP connection between two services, which carries many requests.
@connection
entity HttpConnection over TcpConnection {
    /// The protocol that the two ends speak: `http/1.1`, `h2`.
    attribute application_protocol: string;

    /// How many requests at most go over one connection before it is closed. Of several, the smallest.
    attribute max_requests: int merge min;

    /// After how long without a request the connection is closed. Of several, the shortest.
    attribute idle_timeout: duration merge min;

    /// Closes the connection after so many requests.
    operation SetMaxRequests(count: int) at egress writes max_requests = count;

    /// Closes the connection when no request came for so long.
    operation SetIdleTimeout(limit: duration) at egress writes idle_timeout = limit;
}

/// One HTTP request on one hop.
@request_line("method", "target")
entity HttpRequest over HttpConnection {
    /// The request method, `GET`.
    attribute method: string in r"[A-Z]+";

    /// The request target as it was sent: path and query, `/cart?id=7`.
    attribute target: string;

    /// The target before the first `?`.
    attribute url_path: string from target before "?";

    /// A header field. Names ignore case; a field that is repeated is one value, joined by `,`.
    @propagates
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
    @deadline
    attribute timeout: duration merge min;

    /// How many times a request that failed is sent again. Of several, the largest.
    @repeats
    attribute retries: int merge max;

    /// A label for the rest of the chain of requests that this one begins. It needs no header.
    attribute mark[name: string]: bool travels;

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

    /// Sends a request that failed again, so many times at most.
    operation Retry(attempts: int) at egress writes retries = attempts;

    /// Labels the request and all that it causes: later hops can ask for `r.mark["beta"]`.
    operation Mark(name: string) writes mark[name] = true;

    /// Takes a label away for the rest of the chain.
    operation Unmark(name: string) writes mark[name] = false;
}

/// The answer to a request, on its way back along the hop. Answers that the mesh itself makes are not seen.
entity HttpResponse over HttpConnection {
    /// The request that this answers, as it arrived on the hop.
    attribute request: HttpRequest;

    /// The status code.
    attribute status: int;

    /// A header field. Names ignore case; a field that is repeated is one value, joined by `,`.
    attribute header[name: istring except [
        "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
        "upgrade", "m4-ctx"
    ]]: string?;

    /// Sets a header field on this hop, in place of what it was.
    operation SetHeader(name: istring, value: string) writes header[name] = value;
}

/// Counts.
state entity Counter {
    /// How much was counted.
    attribute tally: int merge sum;

    /// Counts one more, or `by`.
    operation Increment(by: int = 1) writes tally = by;
}

/// A bucket that fills at a rate and holds `burst` tokens at most: it limits how often something may happen.
state entity TokenBucket(rate: rate, burst: int) {
    /// Takes a token; whether there was one.
    condition Take();
}
