// Bookinfo: two refusals and a limit. `docs/plans.md` goes through the plan by hand.

mesh bookinfo {
    graph "bookinfo.graph.yaml";
    dataplanes ebpf, envoy;
}

/// Details are only read.
policy details_are_read (HttpRequest r)
    on * -> details
    when !(r.method in ["GET", "HEAD"])
{
    r.DropRequest(405);
}

/// The page can do without stars, not without an answer.
policy ratings_in_time (HttpRequest r)
    on * -> reviews -> ratings
{
    r.SetTimeout(500ms);
}

/// Nobody may ask for reviews in bulk.
policy no_bulk_reviews (HttpRequest r)
    on * -> reviews
    when r.url_path starts_with "/bulk"
{
    r.DropRequest();
}
