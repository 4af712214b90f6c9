// What every dataplane talks about. A spec says which of this a dataplane can do; policies use it.

/// What happens to a request or a connection: it may pass; or it is refused, sent elsewhere, or answered on the spot,
/// and then nothing else happens to it.
enum Verdict { allow, deny terminal, redirect terminal, respond terminal }

/// A TCP connection between two services. Its patterns name the two ends: `? -> F`, `A -> B`.
@connection
entity TcpConnection {
    /// The port that the caller connects to.
    attribute port: int in 1..65535;

    /// The verified identity of the caller, as its certificate has it (`spiffe://shop/cart`).
    attribute peer: string?;

    /// Whether the connection is made. One that is denied denies every request that it would carry.
    attribute verdict: Verdict in [allow, deny] default allow;

    /// Whether both ends must prove who they are (mutual TLS).
    @both_ends
    attribute mutual_tls: bool merge or;

    /// How long the caller waits until the connection stands. Of several, the shortest.
    attribute connect_timeout: duration merge min;

    /// How many connections at most the caller holds at a time to the callee, to each version of it. Of several, the
    /// smallest.
    attribute max_connections: int in 1.. merge min;

    /// Lets the connection be made, against a mesh's `default … = deny`.
    operation AllowConnection() writes verdict = allow;

    /// Refuses the connection: nobody answers who asks for it.
    operation DropConnection() writes verdict = deny;

    /// Demands that both ends prove who they are, and encrypts what they say.
    operation RequireIdentity() writes mutual_tls = true;

    /// Gives up when the connection does not stand in time; requests that wait for it are answered 503.
    operation SetConnectTimeout(limit: duration) at egress writes connect_timeout = limit;

    /// Holds so many connections at most; a request that would need one more waits for one.
    /// A request keeps its connection until it is answered: on a path that passes the hop more often, it waits for
    /// itself.
    operation SetMaxConnections(count: int) at egress writes max_connections = count;
}

/// An HTTP connection between two services, which carries many requests.
@connection
entity HttpConnection over TcpConnection {
    protocols "http", "http2", "https", "grpc", "grpc-web";

    /// The protocol that the two ends speak: `http/1.1`, `h2`.
    attribute application_protocol: string;

    /// How many requests at most go over one connection before it is closed. Of several, the smallest.
    attribute max_requests: int in 1.. merge min;

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

    /// The request target as it was sent: path and query, `/cart?id=7`. Two policies that rewrite it must agree.
    attribute target: string;

    /// The target before the first `?`.
    attribute url_path: string from target before "?";

    /// The host, and possibly port, that the request is for, `shop.example:8080`: what the header `host` says. Two
    /// policies that rewrite it must agree.
    attribute target_host: string in r"[!-.0-~]+";

    /// A header field. Names ignore case; a field that is repeated is one value, joined by `,`.
    @propagates
    attribute header[name: istring in r"[!#$%&'*+.^_`|~0-9a-z-]+" except [
        "connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "baggage", "m4-ctx"
    ]]: string?;

    /// What is appended to a header field when all else of the hop is done: no condition on the hop sees it. Of
    /// several, each once; in which order is left open.
    @added_to("header")
    attribute added_header[name: istring]: set<string> merge union;

    /// The verified identity of the caller.
    attribute peer: string?;

    /// Whether the request may pass, and what becomes of one that may not. Two different verdicts contradict each
    /// other: say which one overrides the other.
    attribute verdict: Verdict default allow;

    /// The status of the response to a denied request. Of several, the smallest.
    attribute status: int in 400..599 merge min default 403;

    /// Where a redirected client is sent: a URI, or a path on the same host. Two redirects must agree.
    attribute redirect_to: string in r"[!-~]+";

    /// How a client is redirected: 301 and 308 for good, 302 and 307 for now, with 307 and 308 keeping method and body;
    /// 303 to look there with GET. Two redirects must agree.
    attribute redirect_status: int in [301, 302, 303, 307, 308];

    /// The status of an answer on the spot. Two answers must agree.
    attribute answer_status: int in 200..599;

    /// The body of an answer on the spot. Two answers must agree.
    attribute answer_body: string;

    /// The media type of that body.
    attribute answer_type: string in r"[ -~]+";

    /// Which versions of the callee get which share of the requests.
    attribute route: map<version, percent>;

    /// To which services a copy of the request goes as well, of what share of the requests. Copies to different
    /// services live side by side; two different shares for one service contradict each other, for neither author would
    /// get the traffic that was asked for.
    @outward
    attribute mirror_share[to: service]: percent;

    /// How long the caller waits for the response, with all that is sent again. Of several, the shortest.
    @deadline
    attribute timeout: duration merge min;

    /// How many times a request that failed is sent again. Of several, the largest.
    @repeats
    attribute retries: int in 1..100 merge max;

    /// How long one attempt may take before it has failed. Of several, the shortest.
    attribute attempt_timeout: duration merge min;

    /// For how long a request is held back, as if the callee were slow. Two experiments must agree.
    @outward
    attribute fault_delay: duration in 1ms..;

    /// What share of the requests is held back.
    @outward
    attribute fault_delay_share: percent;

    /// With what a request is answered as if the callee had failed. Two experiments must agree.
    @outward
    attribute fault_status: int in 200..599;

    /// What share of the requests is answered so.
    @outward
    attribute fault_status_share: percent;

    /// What share of the requests is written to the log. Of several, the largest: its log holds what the others want.
    @outward
    attribute log_share: percent merge max;

    /// A label for the rest of the chain of requests that this one begins. It needs no header.
    attribute mark[name: string]: bool travels;

    /// Lets the request pass, against a mesh's `default … = deny`.
    operation AllowRequest() writes verdict = allow;

    /// Answers the request with `status`; it goes no further.
    operation DropRequest(status: int = 403) writes verdict = deny, status = status;

    /// Sends the client elsewhere: `r.Redirect("https://shop.example/sale")`. The request goes no further.
    operation Redirect(location: string, status: int = 302)
        writes verdict = redirect, redirect_to = location, redirect_status = status;

    /// Answers the request with this status and body; it goes no further.
    operation Respond(status: int = 200, body: string = "", content_type: string = "text/plain")
        writes verdict = respond, answer_status = status, answer_body = body, answer_type = content_type;

    /// Sets a header field on this hop, in place of what it was.
    operation SetHeader(name: istring, value: string) writes header[name] = value;

    /// Appends a value to a header field, behind what it holds when all else of the hop is done.
    operation AppendHeader(name: istring, value: string) writes added_header[name] = [value];

    /// Takes a header field away, in all its values.
    operation RemoveHeader(name: istring) writes header[name] = absent;

    /// Puts another target, path and query, in place of the request's.
    operation RewriteTarget(to: string in r"/[!-~]*") writes target = to;

    /// Puts another host in place of the request's. Where the request goes does not change.
    operation SetHost(to: string) writes target_host = to;

    /// Spreads requests over the versions of the callee: `r.Split({ v1: 80%, v2: 20% })`.
    operation Split(versions: map<version, percent>) at egress writes route = versions;

    /// Sends a copy of what the callee gets to another service too, and throws its answer away. No policy is about the
    /// copy, and what the other service calls for it counts as begun by that service.
    operation Mirror(to: service, share: percent = 100%) at ingress writes mirror_share[to] = share;

    /// Answers 504 to the caller if the response takes longer.
    operation SetTimeout(limit: duration) at egress writes timeout = limit;

    /// Sends a request that failed again, so many times at most. It has failed if no response came, or one with the
    /// status 502, 503 or 504.
    operation Retry(attempts: int) at egress writes retries = attempts;

    /// Gives up an attempt that takes longer; with `Retry` the next one follows.
    operation SetAttemptTimeout(limit: duration) at egress writes attempt_timeout = limit;

    /// Holds a share of the requests back before the callee gets them: timeouts and retries see a service that is slow.
    operation Delay(time: duration, share: percent = 100%) at ingress
        writes fault_delay = time, fault_delay_share = share;

    /// Answers a share of the requests in place of the callee: retries see a service that fails.
    operation Abort(status: int = 503, share: percent = 100%) at ingress
        writes fault_status = status, fault_status_share = share;

    /// Writes a share of the requests to the log of whatever enforces this, when they are over. Say `at egress` to log
    /// once what is sent several times, `at ingress` to log every time.
    operation LogSample(share: percent = 100%) writes log_share = share;

    /// Labels the request and all that it causes: later hops can ask for `r.mark["beta"]`.
    operation Mark(name: string) writes mark[name] = true;

    /// Takes a label away for the rest of the chain.
    operation Unmark(name: string) writes mark[name] = false;
}

/// The answer to a request, on its way back along the hop. Answers that the mesh itself makes are not seen.
entity HttpResponse over HttpConnection {
    /// The request that this answers, as it arrived on the hop.
    attribute request: HttpRequest;

    /// The status code. It cannot be written: whether there is a body depends on it.
    attribute status: int in 200..599;

    /// A header field. Names ignore case; a field that is repeated is one value, joined by `,`.
    attribute header[name: istring in r"[!#$%&'*+.^_`|~0-9a-z-]+" except [
        "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
        "upgrade", "m4-ctx",
        "grpc-status", "grpc-message", "grpc-status-details-bin" // they come behind the messages
    ]]: string?;

    /// What is appended to a header field when all else of the hop is done: no condition on the hop sees it. Of
    /// several, each once; in which order is left open.
    @added_to("header")
    attribute added_header[name: istring]: set<string> merge union;

    /// What share of the responses is written to the log. Of several, the largest: its log holds what the others want.
    @outward
    attribute log_share: percent merge max;

    /// Sets a header field on this hop, in place of what it was.
    operation SetHeader(name: istring, value: string) writes header[name] = value;

    /// Appends a value to a header field, behind what it holds when all else of the hop is done.
    operation AppendHeader(name: istring, value: string) writes added_header[name] = [value];

    /// Takes a header field away, in all its values.
    operation RemoveHeader(name: istring) writes header[name] = absent;

    /// Writes a share of the responses to the log of whatever enforces this.
    operation LogSample(share: percent = 100%) writes log_share = share;
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
