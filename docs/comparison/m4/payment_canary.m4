/// The new payment gateway gets a fifth of the charges.
policy payment_canary (HttpRequest r)
    on * -> checkoutservice -> paymentservice
{
    r.Split({ v1: 80%, v2: 20% });
}
