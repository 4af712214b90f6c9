/// Envoy, a proxy beside each service: every request of the service passes it, and it may change them.
spec envoy {
    tier proxy;
    cost 50;
    context reads, writes;
    peer egress, ingress;
    supports HttpRequest {
        reads method   with (== != in starts_with ends_with contains matches exists);
        reads target   with (== != in starts_with ends_with contains matches exists);
        reads url_path with (== != in starts_with ends_with contains matches exists);
        reads header   with (== != in starts_with ends_with contains matches exists);
        operation AllowRequest emits "allow.yaml.j2";
        operation DropRequest  emits "drop.yaml.j2";
        operation SetHeader    emits "set_header.yaml.j2";
        operation Split        emits "split.yaml.j2";
        operation SetTimeout   emits "timeout.yaml.j2";
    }
    artifact "envoy.yaml" from "envoy.yaml.j2" per service;
}
