// Written by the team that runs the machines, without a look at the payments team's canary. Open this folder in an
// editor, or run `m4 check` on it, to see where the two meet.
import "../online-boutique/boutique.m4";
mesh boutique;

/// Services that come in two versions carry the same load on both.
@owner("capacity")
policy even_load (HttpRequest r)
    on * -> (paymentservice | shippingservice)
{
    r.Split({ v1: 50%, v2: 50% });
}
