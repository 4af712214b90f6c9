"""Requests that are answered with an error: what the protocol calls it, and a message for people."""

from __future__ import annotations

from pygls.exceptions import JsonRpcException


class Failure(JsonRpcException):
    """Something cannot be done; the message is for people."""

    CODE = -32803  # RequestFailed


class ContentModified(JsonRpcException):
    """The text has changed before the answer was there."""

    CODE = -32801
