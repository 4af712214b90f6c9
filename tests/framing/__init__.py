"""Requests that two readers could understand differently, sent in every split through every dataplane.

What a dataplane passes on is read as the most different servers read it: strictly, and leniently in every way that
servers have been lenient in. None of them may find a request that the policy refuses.
"""
