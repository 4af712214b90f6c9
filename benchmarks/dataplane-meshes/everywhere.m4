// A sidecar beside every service, on both sides of every hop. Each looks for a header that no request of the load has.

policy told_going (HttpRequest r)
    on * -> ? -> ? at egress
    when r.header["x-debug"] == "yes"
{
    r.SetHeader("x-debug-egress", "seen");
}

policy told_coming (HttpRequest r)
    on * -> ? at ingress
    when r.header["x-debug"] == "yes"
{
    r.SetHeader("x-debug-ingress", "seen");
}
