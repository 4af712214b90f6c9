// What the kernel counts on the measured hop beside what it refuses.

state Counter requests;

/// Every request to the server, refused or not.
policy counted (HttpRequest r)
    on * -> client -> server at egress
{
    requests.Increment();
}
