// What is enforced on the measured hop, beside the caller: by where a request comes from, and by one of its headers.

/// Batch jobs never reach the server, whatever they go through.
policy no_batch (HttpRequest r)
    on batch -> client -> server at egress
{
    r.DropRequest();
}

/// Groups that are shut out do not reach it either.
policy shut_out (HttpRequest r)
    on * -> client -> server at egress
    when r.header["x-user-group"] == "blocked"
{
    r.DropRequest(451);
}
