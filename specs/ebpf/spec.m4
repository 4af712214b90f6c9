/// Programs in the kernel, at the caller: they see what a service sends to its callees before it leaves the service's
/// sockets. They look at requests, refuse them, and carry context; they never rewrite a header of the application.
spec ebpf {
    tier kernel;
    cost 1 + 1 per 100/s;
    context reads at egress, writes at egress;
    peer egress;
    speaks "http";
    supports HttpRequest {
        reads method   with (== != in starts_with ends_with contains exists) at egress;
        reads target   with (== != in starts_with ends_with contains exists) at egress;
        reads url_path with (== != in starts_with ends_with contains exists) at egress;
        reads header   with (== != in starts_with ends_with contains exists) at egress;
        operation AllowRequest at egress emits "verdict.c.j2";
        operation DropRequest  at egress emits "verdict.c.j2";
        operation Mark         at egress emits "mark.c.j2";
        operation Unmark       at egress emits "mark.c.j2";
    }
    supports TcpConnection {
        @any_protocol operation AllowConnection at egress emits "connection.c.j2";
        @any_protocol operation DropConnection at egress emits "connection.c.j2";
    }
    supports Counter {
        operation Increment at egress emits "count.c.j2";
    }
    supports TokenBucket {
        @keyed condition Take at egress emits "take.c.j2";
    }
    artifact "m4.bpf.c" from "m4.bpf.c.j2" per service;
    artifact "hops.json" from "hops.json.j2" per service;
}
