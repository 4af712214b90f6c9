// What is enforced beside the callee as well, in the arms that have something at both ends.

/// Groups that have gone are not let in.
policy gone (HttpRequest r)
    on * -> client -> server at ingress
    when r.header["x-user-group"] == "gone"
{
    r.DropRequest(410);
}
