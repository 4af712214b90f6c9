// What Online Boutique wants of its mesh. Nothing here says how it is done: `m4 plan` shows that.

mesh boutique {
    graph "boutique.graph.yaml";
    dataplanes ebpf, haproxy, envoy;

    // Recommendations are an experiment: nobody may ask for them, unless a policy says so.
    default HttpRequest.verdict = deny on * -> recommendationservice;
}

/// Synthetic load never charges a card, whatever it goes through.
@owner("payments")
policy no_synthetic_charges (HttpRequest r)
    on loadgenerator -> * -> paymentservice
{
    r.DropRequest();
}

/// The experiment is open to beta users.
@owner("discovery")
policy beta_only (HttpRequest r)
    on * -> recommendationservice
    when r.header["x-user-group"] == "beta"
{
    r.AllowRequest();
}

/// Recommendations only read the catalogue.
@owner("discovery")
policy read_only_catalogue (HttpRequest r)
    on * -> recommendationservice -> productcatalogservice
    when !(r.method in ["GET", "HEAD"])
{
    r.DropRequest(405);
}

/// Operators look at the store's internals from where they are, not through the shop.
@owner("platform")
policy no_admin (HttpRequest r)
    on * -> [kind: store]
    when r.url_path starts_with "/admin" && !(r.header["x-operator"] == "yes")
{
    r.DropRequest(404);
}

/// The new payment gateway gets a fifth of the charges.
@owner("payments")
policy payment_canary (HttpRequest r)
    on * -> checkoutservice -> paymentservice
{
    r.Split({ v1: 80%, v2: 20% });
}

/// A charge that takes longer has failed.
@owner("payments")
policy payment_timeout (HttpRequest r)
    on * -> checkoutservice -> paymentservice
{
    r.SetTimeout(1s);
}

/// The mailer must know that a receipt comes from a checkout.
@owner("checkout")
policy receipts_are_marked (HttpRequest r)
    on * -> checkoutservice -> emailservice
{
    r.SetHeader("x-mail-kind", "receipt");
}

/// Requests of partners carry their tier on, so that the catalogue can price them.
@owner("catalogue")
policy partner_prices (HttpRequest r)
    on * -> checkoutservice -> productcatalogservice
    when r.header["x-partner"] matches r"(gold|silver)-[0-9]+"
{
    if (r.header["x-partner"] starts_with "gold") {
        r.SetHeader("x-price-list", "gold");
    } else {
        r.SetHeader("x-price-list", "silver");
    }
}
