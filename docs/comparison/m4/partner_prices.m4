/// Requests of partners carry their tier on, so that the catalogue can price them.
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
