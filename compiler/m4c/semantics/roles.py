"""The words that specs say of their declarations: merges of several writes, and annotations with what they mean."""

from __future__ import annotations

MERGES = ("min", "max", "and", "or", "union", "sum")
# What a spec can say of its declarations beside their types, for analyses that look at several hops.
ROLES = {
    "deadline": "how long the caller waits for the response",
    "repeats": "how many more times a failed request may be sent",
    "propagates": "applications hand on those whose keys the mesh lists under `propagate`",
    "outward": "it shows even if the request ends on the same hop, so what ends the request has to come first",
    "both_ends": "it takes the same dataplane at both ends of a hop, and nobody between the two sees what is sent",
    "added_to": "its elements are added to the named attribute when all else of the hop is done",
}
ENTITY_ROLES = {
    "connection": "one for many requests, so it has no call path",
    "request_line": "the attributes that the words of a test's `request` are",
}
SUPPORT_ROLES = {
    "keyed": "also of a state that is kept for each value of an attribute that the dataplane can read there",
    "any_protocol": "also on hops whose protocol the dataplane does not speak: what is sent there is not looked at",
}
WITH_ARGUMENTS = ("request_line", "added_to")
OWNER = "owner"
POLICY_ROLES = {OWNER: "who is asked about this"}
# The types whose values a merge joins, where not every type's are.
MERGED = {
    "and": ("bool",),
    "or": ("bool",),
    "union": ("set",),
    "sum": ("int", "duration", "percent"),
}
PER = ("service",)  # of what an artifact is one each
