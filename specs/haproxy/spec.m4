/// HAProxy, a light proxy beside each service: it answers, rewrites and spreads requests, for less than Envoy costs. What
/// it does in another way than the language says is not here: Envoy does that.
spec haproxy {
    tier proxy;
    cost 25 + 30 per 100/s;
    context reads, writes;
    peer egress, ingress;
    speaks "http";
    supports HttpRequest {
        reads method      with (== != in starts_with ends_with contains exists);
        reads target      with (== != in starts_with ends_with contains exists);
        reads url_path    with (== != in starts_with ends_with contains exists);
        reads target_host with (== != in starts_with ends_with contains exists);
        reads header      with (== != in starts_with ends_with contains exists);
        operation AllowRequest  emits "allow.cfg.j2";
        operation DropRequest   emits "drop.cfg.j2";
        operation Redirect      emits "redirect.cfg.j2";
        operation Respond       emits "respond.cfg.j2";
        operation SetHeader     emits "set_header.cfg.j2";
        operation AppendHeader  emits "append_header.cfg.j2";
        operation RemoveHeader  emits "remove_header.cfg.j2";
        operation RewriteTarget emits "rewrite_target.cfg.j2";
        operation SetHost       emits "set_host.cfg.j2";
        operation Split         emits "split.cfg.j2";
        operation Delay         emits "delay.cfg.j2";
        operation Abort         emits "abort.cfg.j2";
        operation LogSample     emits "log.cfg.j2";
        operation Mark          emits "mark.cfg.j2";
        operation Unmark        emits "mark.cfg.j2";
    }
    supports TcpConnection {
        operation AllowConnection   at egress emits "allow.cfg.j2";
        operation DropConnection    at egress emits "close.cfg.j2";
        operation SetConnectTimeout emits "connect_timeout.cfg.j2";
    }
    artifact "haproxy.cfg" from "haproxy.cfg.j2" per service;
    artifact "m4.lua" from "m4.lua.j2" per service;
}
