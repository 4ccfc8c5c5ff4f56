"""Tencent's own SDKs for Node.js, Java and Go against the running service."""
