/// A charge that takes longer has failed.
policy payment_timeout (HttpRequest r)
    on * -> checkoutservice -> paymentservice
{
    r.SetTimeout(1s);
}
