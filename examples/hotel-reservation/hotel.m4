// Hotel Reservation: stores are closed to operators' paths, and searches end in time.

mesh hotel {
    graph "hotel-reservation.graph.yaml";
    dataplanes ebpf, envoy;
}

/// The stores' own pages are not for services.
policy no_admin (HttpRequest r)
    on * -> [kind: store]
    when r.url_path starts_with "/admin"
{
    r.DropRequest(404);
}

/// Who searches does not wait for long.
policy search_in_time (HttpRequest r)
    on * -> frontend -> search
{
    r.SetTimeout(1s);
}

/// Rates say what they are asked for.
policy rates_for_search (HttpRequest r)
    on * -> search -> rate
{
    r.SetHeader("x-asked-by", "search");
}
