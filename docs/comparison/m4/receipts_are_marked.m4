/// The mailer must know that a receipt comes from a checkout.
policy receipts_are_marked (HttpRequest r)
    on * -> checkoutservice -> emailservice
{
    r.SetHeader("x-mail-kind", "receipt");
}
