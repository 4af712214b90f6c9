/// Synthetic load never charges a card, whatever it goes through.
policy no_synthetic_charges (HttpRequest r)
    on loadgenerator -> * -> paymentservice
{
    r.DropRequest();
}
