// Both ends prove who they are, and encrypt what they say.

policy identified (TcpConnection c)
    on ? -> server
{
    c.RequireIdentity();
}
