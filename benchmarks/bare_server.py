"""A server of pygls that can do nothing: what any server on it needs to start, to compare with."""

from pygls.lsp.server import LanguageServer

LanguageServer("bare", "1").start_io()
