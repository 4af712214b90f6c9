mesh shop {
    graph "shop.graph.yaml";
    dataplanes ebpf, envoy;
}

/// A fifth of what e sends to f tries the new version.
policy send_some (HttpRequest r) on e -> f {
    r.Split({ v1: 80%, v2: 20% });
}

/// What everybody is told.
policy label (HttpRequest r) on web -> e when r.header["x-user-group"] == "beta" {
    r.SetHeader("x-tier", "beta");
}
