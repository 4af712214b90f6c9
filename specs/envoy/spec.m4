/// Envoy, a proxy beside each service: every request of the service passes it, and it may change them.
spec envoy {
    tier proxy;
    cost 50 + 70 per 100/s;
    context reads, writes;
    peer egress, ingress;
    speaks "http", "http2", "grpc", "grpc-web";
    speaks "tcp", "tls", "mongo", "mysql", "redis"; // as connections
    supports HttpRequest {
        reads method      with (== != in starts_with ends_with contains matches exists);
        reads target      with (== != in starts_with ends_with contains matches exists);
        reads url_path    with (== != in starts_with ends_with contains matches exists);
        reads target_host with (== != in starts_with ends_with contains matches exists);
        reads header      with (== != in starts_with ends_with contains matches exists);
        operation AllowRequest      emits "allow.yaml.j2";
        operation DropRequest       emits "drop.yaml.j2";
        operation Redirect          emits "redirect.yaml.j2";
        operation Respond           emits "respond.yaml.j2";
        operation SetHeader         emits "set_header.yaml.j2";
        operation AppendHeader      emits "append_header.yaml.j2";
        operation RemoveHeader      emits "remove_header.yaml.j2";
        operation RewriteTarget     emits "rewrite_target.yaml.j2";
        operation SetHost           emits "set_host.yaml.j2";
        operation Split             emits "split.yaml.j2";
        operation Mirror            emits "mirror.yaml.j2";
        operation SetTimeout        emits "timeout.yaml.j2";
        operation SetAttemptTimeout emits "attempt_timeout.yaml.j2";
        operation Retry             emits "retry.yaml.j2";
        operation Delay             emits "delay.yaml.j2";
        operation Abort             emits "abort.yaml.j2";
        operation LogSample         emits "log.yaml.j2";
        operation Mark              emits "mark.yaml.j2";
        operation Unmark            emits "mark.yaml.j2";
    }
    supports HttpResponse {
        reads status with (== != < <= > >= in) at ingress;
        reads header with (== != in starts_with ends_with contains matches exists) at ingress;
        operation SetHeader    at ingress emits "set_header.yaml.j2";
        operation AppendHeader at ingress emits "append_header.yaml.j2";
        operation RemoveHeader at ingress emits "remove_header.yaml.j2";
        operation LogSample    at ingress emits "log.yaml.j2";
    }
    supports TcpConnection {
        operation AllowConnection   at egress emits "allow.yaml.j2";
        operation DropConnection    at egress emits "close.yaml.j2";
        operation RequireIdentity   emits "identity.yaml.j2";
        operation SetConnectTimeout emits "connect_timeout.yaml.j2";
        operation SetMaxConnections emits "max_connections.yaml.j2";
    }
    supports HttpConnection {
        operation SetMaxRequests emits "max_requests.yaml.j2";
        operation SetIdleTimeout emits "idle_timeout.yaml.j2";
    }
    supports Counter {
        operation Increment emits "count.yaml.j2";
    }
    artifact "envoy.yaml" from "envoy.yaml.j2" per service;
}
