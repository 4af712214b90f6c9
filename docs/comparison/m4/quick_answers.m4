/// What stands at the edge of a page must not hold it up.
policy quick_answers (HttpRequest r)
    on * -> (adservice | currencyservice | recommendationservice)
{
    r.SetTimeout(500ms);
}
