/// Operators look at the store's internals from where they are, not through the shop.
policy no_admin (HttpRequest r)
    on * -> [kind: store]
    when r.url_path starts_with "/admin" && !(r.header["x-operator"] == "yes")
{
    r.DropRequest(404);
}
