// Social Network: posts are written by way of composing alone, whatever else leads to their store.

mesh social {
    graph "social-network.graph.yaml";
    dataplanes ebpf, envoy;
}

/// Posts are stored by way of the composer, or only read.
policy composed_only (HttpRequest r)
    on outside -> nginx-web-server -> (!compose-post-service)* -> post-storage-mongodb
    when !(r.method in ["GET", "HEAD"])
{
    r.DropRequest();
}

/// What is written in the background says so to the graph of users.
policy background (HttpRequest r)
    on write-home-timeline-service -> social-graph-service
{
    r.SetHeader("x-background", "yes");
}

/// Composing waits for the text, but not for ever.
policy text_in_time (HttpRequest r)
    on * -> compose-post-service -> text-service
{
    r.SetTimeout(800ms);
}
