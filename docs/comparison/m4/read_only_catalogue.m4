/// Recommendations only read the catalogue.
policy read_only_catalogue (HttpRequest r)
    on * -> recommendationservice -> productcatalogservice
    when !(r.method in ["GET", "HEAD"])
{
    r.DropRequest(405);
}
